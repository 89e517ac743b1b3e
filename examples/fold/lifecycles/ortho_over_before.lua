--- Over: a new ortho gets one more layer before its first one, along each axis in turn.
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
  local blocks = fold.over(sentences, ortho, fold.BEFORE)
  while blocks:next() do
    found.ortho(blocks:friends(), blocks.axes, blocks.words, blocks.dims)
  end
end

M.examples = {
  hit = {
    data = { axes = "d:1,e:1", words = "b e d f", dims = "1,1" },
    friends = { {
      { words = "a b e" }, { words = "c d f" }, { words = "a c" }, { words = "b d" },
      { words = "e f" },
    } },
    found = { ortho = { { "b:2,c:1", "a c b d e f", "2,1" } } },
  },
  miss = {
    data = { axes = "d:1,e:1", words = "b e d f", dims = "1,1" },
    friends = { { { words = "a b" }, { words = "a c" }, { words = "b d" }, { words = "c d" } } },
    found = {},
  },
  near_miss = { -- a b e is no phrase
    data = { axes = "d:1,e:1", words = "b e d f", dims = "1,1" },
    friends = { {
      { words = "c d f" }, { words = "a b" }, { words = "b e" }, { words = "a c" },
      { words = "b d" }, { words = "e f" },
    } },
    found = {},
  },
}

return M
