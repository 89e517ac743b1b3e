--- A new phrase is the near one of the two long lines of a ladder: a b e, and c d f below it.
local fold = require("fold")

local M = { on = "phrase", friends = { sentence = { {} } }, finds = { "ortho" }, monotone = true, priority = 50 }

function M.load_friends(db)
  return db.sentence:where({})
end

function M.process_data(phrase, sentences, found)
  local blocks = fold.widen(sentences, phrase.words, fold.BEHIND)
  while blocks:next() do
    found.ortho(blocks:friends(), blocks.axes, blocks.words, blocks.dims)
  end
end

return M
