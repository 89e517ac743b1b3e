--- A sentence is read into words, pairs, and phrases: all runs of three words or more.
local fold = require("fold")

local M = { on = "sentence", finds = { "word", "pair", "phrase" }, monotone = true, priority = 90 }

---@param sentence fold.Sentence
---@param found accrete.Found
function M.process_data(sentence, found)
  local text = sentence.words
  local words, starts, ends = fold.words(text)
  for i = 1, #words do
    found.word(nil, words[i])
  end
  for i = 1, #words - 1 do
    found.pair(nil, words[i], words[i + 1])
  end
  local longest = fold.max_phrase or #words
  for i = 1, #words - 2 do
    for j = i + 2, math.min(i + longest - 1, #words) do
      found.phrase(nil, text:sub(starts[i], ends[j]))
    end
  end
end

M.examples = {
  hit = {
    data = { words = "a b c" },
    friends = {},
    found = { word = { { "a" }, { "b" }, { "c" } }, pair = { { "a", "b" }, { "b", "c" } }, phrase = { { "a b c" } } },
  },
  miss = { data = { words = "a" }, friends = {}, found = { word = { { "a" } } } },
}

return M
