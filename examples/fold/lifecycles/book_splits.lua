--- A book is read into sentences.
local fold = require("fold")

local M = { on = "book", finds = { "sentence" }, monotone = true, priority = 100 }

---@param book fold.Book
---@param found accrete.Found
function M.process_data(book, found)
  for _, words in ipairs(fold.sentences(book.body)) do
    found.sentence(nil, words)
  end
end

M.examples = {
  hit = {
    data = { title = "one", body = "Mr. Smith" },
    friends = {},
    found = { sentence = { { "mr" }, { "smith" } } },
  },
  miss = { data = { title = "two", body = " . ! 12" }, friends = {}, found = {} },
}

return M
