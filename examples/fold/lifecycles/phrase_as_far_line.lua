--- A new phrase is the far one of the two long lines of a ladder: c d f, and a b e above it.
local fold = require("fold")

local M = { on = "phrase", friends = { sentence = { {} } }, finds = { "ortho" }, monotone = true, priority = 50 }

function M.load_friends(db)
  return db.sentence:where({})
end

function M.process_data(phrase, sentences, found)
  local blocks = fold.widen(sentences, phrase.words, fold.BEFORE)
  while blocks:next() do
    found.ortho(blocks:friends(), blocks.axes, blocks.words, blocks.dims)
  end
end

return M
