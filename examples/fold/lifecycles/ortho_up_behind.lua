--- Up: a new ortho is the near side of one with an axis more.
local fold = require("fold")

local M = { on = "ortho", friends = { sentence = { {} } }, finds = { "ortho" }, monotone = true, priority = 20 }

---@param ortho fold.Ortho
function M.abort_early(ortho)
  return fold.stays_flat(ortho)
end

---@param db accrete.Batch
function M.load_friends(db)
  return db.sentence:where({})
end

---@param ortho fold.Ortho
---@param sentences accrete.Rows<fold.Sentence>
---@param found accrete.Found
function M.process_data(ortho, sentences, found)
  local blocks = fold.up(sentences, ortho, fold.BEHIND)
  while blocks:next() do
    found.ortho(blocks:friends(), blocks.axes, blocks.words, blocks.dims)
  end
end

M.examples = {
  hit = {
    data = { axes = "c:1,e:1", words = "a e c g", dims = "1,1" },
    friends = { {
      { words = "a b" }, { words = "c d" }, { words = "e f" }, { words = "g h" },
      { words = "b d" }, { words = "b f" }, { words = "d h" }, { words = "f h" },
    } },
    found = { ortho = { { "b:1,c:1,e:1", "a e c g b f d h", "1,1,1" } } },
  },
  miss = {
    data = { axes = "c:1,e:1", words = "a e c g", dims = "1,1" },
    friends = { {
      { words = "a b" }, { words = "c d" }, { words = "e f" }, { words = "g h" },
      { words = "b d" }, { words = "b f" }, { words = "d h" },
    } },
    found = {},
  },
  near_miss = { -- the new axis would be the third: other sides find this cube
    data = { axes = "b:1,c:1", words = "a c b d", dims = "1,1" },
    friends = { {
      { words = "a e" }, { words = "b f" }, { words = "c g" }, { words = "d h" },
      { words = "e f" }, { words = "e g" }, { words = "f h" }, { words = "g h" },
    } },
    found = {},
  },
}

return M
