--- Ex nihilo, the new pair at the bottom: c d, and some a b above it.
local fold = require("fold")

local M = { on = "pair", friends = { sentence = { {} } }, finds = { "ortho" }, monotone = true, priority = 60 }

---@param db accrete.Batch
function M.load_friends(db)
  return db.sentence:where({})
end

---@param pair fold.Pair
---@param sentences accrete.Rows<fold.Sentence>
---@param found accrete.Found
function M.process_data(pair, sentences, found)
  local blocks = fold.widen(sentences, pair.first .. " " .. pair.second, fold.BEFORE)
  while blocks:next() do
    found.ortho(blocks:friends(), blocks.axes, blocks.words, blocks.dims)
  end
end

M.examples = {
  hit = {
    data = { first = "c", second = "d" },
    friends = { { { words = "a b" }, { words = "a c" }, { words = "b d" }, { words = "c d" } } },
    found = { ortho = { { "b:1,c:1", "a c b d", "1,1" } } },
  },
  miss = {
    data = { first = "c", second = "d" },
    friends = { { { words = "c d" }, { words = "a c" }, { words = "b d" } } },
    found = {},
  },
  near_miss = { -- b and c would be the same word
    data = { first = "c", second = "d" },
    friends = { { { words = "a c d" } } },
    found = {},
  },
}

return M
