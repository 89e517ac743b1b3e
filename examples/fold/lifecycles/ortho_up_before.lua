--- Up: a new ortho is the far side of one with an axis more.
local fold = require("fold")

local M = { on = "ortho", friends = { sentence = { {} } }, finds = { "ortho" }, monotone = true, priority = 20 }

function M.abort_early(ortho)
  return fold.stays_flat(ortho)
end

function M.load_friends(db)
  return db.sentence:where({})
end

function M.process_data(ortho, sentences, found)
  local blocks = fold.up(sentences, ortho, fold.BEFORE)
  while blocks:next() do
    found.ortho(blocks:friends(), blocks.axes, blocks.words, blocks.dims)
  end
end

return M
