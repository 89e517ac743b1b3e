--- A book is read into sentences.
local fold = require("fold")

local M = { on = "book", finds = { "sentence" }, monotone = true, priority = 100 }

function M.process_data(book, found)
  for _, words in ipairs(fold.sentences(book.body)) do
    found.sentence(nil, words)
  end
end

return M
