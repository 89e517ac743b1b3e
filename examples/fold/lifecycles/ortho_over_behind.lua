--- Over: a new ortho gets one more layer behind its last one, along each axis.
local fold = require("fold")

local M = { on = "ortho", friends = { sentence = { {} } }, finds = { "ortho" }, monotone = true, priority = 30 }

function M.load_friends(db)
  return db.sentence:where({})
end

function M.process_data(ortho, sentences, found)
  local blocks = fold.over(sentences, ortho, fold.BEHIND)
  while blocks:next() do
    found.ortho(blocks:friends(), blocks.axes, blocks.words, blocks.dims)
  end
end

return M
