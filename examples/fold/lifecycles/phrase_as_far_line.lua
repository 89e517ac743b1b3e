--- A new phrase is the far one of the two long lines of a ladder: c d f, and some a b e above it.
local fold = require("fold")

local M = { on = "phrase", friends = { sentence = { {} } }, finds = { "ortho" }, monotone = true, priority = 50 }

---@param db accrete.Batch
function M.load_friends(db)
  return db.sentence:where({})
end

---@param phrase fold.Phrase
---@param sentences accrete.Rows<fold.Sentence>
---@param found accrete.Found
function M.process_data(phrase, sentences, found)
  local blocks = fold.widen(sentences, phrase.words, fold.BEFORE)
  while blocks:next() do
    found.ortho(blocks:friends(), blocks.axes, blocks.words, blocks.dims)
  end
end

M.examples = {
  hit = {
    data = { words = "c d f" },
    friends = { {
      { words = "a b e" }, { words = "c d f" }, { words = "a c" }, { words = "b d" },
      { words = "e f" },
    } },
    found = { ortho = { { "b:2,c:1", "a c b d e f", "2,1" } } },
  },
  miss = {
    data = { words = "c d f" },
    friends = { { { words = "c d f" }, { words = "a c" } } },
    found = {},
  },
  near_miss = { -- a b e is no phrase
    data = { words = "c d f" },
    friends = { {
      { words = "c d f" }, { words = "a b" }, { words = "b e" }, { words = "a c" },
      { words = "b d" }, { words = "e f" },
    } },
    found = {},
  },
}

return M
