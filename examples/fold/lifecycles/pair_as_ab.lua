--- Ex nihilo, the new pair on top: a b, and c d below it.
local fold = require("fold")

local M = { on = "pair", friends = { sentence = { {} } }, finds = { "ortho" }, monotone = true, priority = 60 }

function M.load_friends(db)
  return db.sentence:where({})
end

function M.process_data(pair, sentences, found)
  local blocks = fold.widen(sentences, pair.first .. " " .. pair.second, fold.BEHIND)
  while blocks:next() do
    found.ortho(blocks:friends(), blocks.axes, blocks.words, blocks.dims)
  end
end

return M
