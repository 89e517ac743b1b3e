--- A sentence is read into words, pairs, and phrases: every run of three words or more.
local fold = require("fold")

local M = { on = "sentence", finds = { "word", "pair", "phrase" }, monotone = true, priority = 90 }

function M.process_data(sentence, found)
  local words, starts, ends = fold.words(sentence.words)
  for i = 1, #words do
    found.word(nil, words[i])
  end
  for i = 1, #words - 1 do
    found.pair(nil, words[i], words[i + 1])
  end
  local longest = fold.max_phrase or #words
  for i = 1, #words - 2 do
    for j = i + 2, math.min(i + longest - 1, #words) do
      found.phrase(nil, sentence.words:sub(starts[i], ends[j]))
    end
  end
end

return M
