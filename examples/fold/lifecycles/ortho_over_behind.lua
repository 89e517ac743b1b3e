--- Over: a new ortho gets one more layer behind its last one, along each axis in turn.
local fold = require("fold")

local M = { on = "ortho", friends = { sentence = { {} } }, finds = { "ortho" }, monotone = true, priority = 30 }

---@param db accrete.Batch
function M.load_friends(db)
  return db.sentence:where({})
end

---@param ortho fold.Ortho
---@param sentences accrete.Rows<fold.Sentence>
---@param found accrete.Found
function M.process_data(ortho, sentences, found)
  local blocks = fold.over(sentences, ortho, fold.BEHIND)
  while blocks:next() do
    found.ortho(blocks:friends(), blocks.axes, blocks.words, blocks.dims)
  end
end

M.examples = {
  hit = {
    data = { axes = "b:1,c:1", words = "a c b d", dims = "1,1" },
    friends = { {
      { words = "a b e" }, { words = "c d f" }, { words = "a c" }, { words = "b d" },
      { words = "e f" },
    } },
    found = { ortho = { { "b:2,c:1", "a c b d e f", "2,1" } } },
  },
  miss = {
    data = { axes = "b:1,c:1", words = "a c b d", dims = "1,1" },
    friends = { { { words = "a b" }, { words = "a c" }, { words = "b d" }, { words = "c d" } } },
    found = {},
  },
  near_miss = { -- c d f is no phrase
    data = { axes = "b:1,c:1", words = "a c b d", dims = "1,1" },
    friends = { {
      { words = "a b e" }, { words = "c d" }, { words = "d f" }, { words = "a c" },
      { words = "b d" }, { words = "e f" },
    } },
    found = {},
  },
}

return M
