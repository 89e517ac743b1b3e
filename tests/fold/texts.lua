--- Texts to try things on: random ones, grids, and the named scenarios.
local M = {}

--- Words of letters only: a, b, ..., z, ba, bb, ...
function M.name(i)
  local name = ""
  repeat
    name = string.char(97 + i % 26) .. name
    i = math.floor(i / 26)
  until i == 0
  return name
end

function M.shuffle(list)
  for i = #list, 2, -1 do
    local j = math.random(i)
    list[i], list[j] = list[j], list[i]
  end
  return list
end

--- Every full line along every axis of an array of words.
local function lines(sizes, cells)
  local strides, count, out = {}, 1, {}
  for i = #sizes, 1, -1 do
    strides[i] = count
    count = count * sizes[i]
  end
  for axis = 1, #sizes do
    for p = 0, count - 1 do
      if math.floor(p / strides[axis]) % sizes[axis] == 0 then
        local line = {}
        for k = 0, sizes[axis] - 1 do
          line[k + 1] = cells[p + k * strides[axis] + 1]
        end
        out[#out + 1] = line
      end
    end
  end
  return out
end

--- The sentences of an array of distinct words.
function M.grid(sizes)
  local count, cells = 1, {}
  for _, size in ipairs(sizes) do
    count = count * size
  end
  for i = 1, count do
    cells[i] = M.name(i - 1)
  end
  return M.shuffle(lines(sizes, cells))
end

--- How many orthos a grid has.
function M.grid_count(sizes)
  local all, boxes = 1, 1
  for _, s in ipairs(sizes) do
    all, boxes = all * s, boxes * (s * (s - 1) / 2 + s)
  end
  local count = boxes - all
  for _, s in ipairs(sizes) do
    count = count - s * (s - 1) / 2 * all / s
  end
  return count
end

local function noise(sentences, words, count, longest)
  for _ = 1, count do
    local sentence = {}
    for i = 1, math.random(2, longest) do
      sentence[i] = M.name(math.random(words) - 1)
    end
    sentences[#sentences + 1] = sentence
  end
end

--- A small random text: noise over few words, often around the lines of an array of words that repeat
--- and lines cut in two, so that blocks of every kind come up.
function M.random()
  local sentences = {}
  local words = math.random(3, 9)
  if math.random() < 0.7 then
    local shapes = {
      { 2, 2 }, { 3, 2 }, { 3, 3 }, { 4, 2 }, { 4, 3 },
      { 2, 2, 2 }, { 3, 2, 2 }, { 3, 3, 2 }, { 4, 2, 2 }, { 2, 2, 2, 2 },
    }
    local sizes = shapes[math.random(#shapes)]
    local count, cells = 1, {}
    for _, size in ipairs(sizes) do
      count = count * size
    end
    local from = math.random() < 0.5 and count or math.random(math.min(count, 5), count)
    for i = 1, count do
      cells[i] = M.name(from == count and i - 1 or math.random(from) - 1)
    end
    for _, line in ipairs(lines(sizes, cells)) do
      if math.random() < 0.2 then -- the line is there only in parts, or not at all
        local cut = math.random(#line)
        sentences[#sentences + 1] = { unpack(line, 1, cut) }
        line = { unpack(line, cut + 1) }
      end
      if #line > 0 then
        sentences[#sentences + 1] = line
      end
    end
    words = math.max(words, count)
    noise(sentences, words, math.random(0, 4), 4)
  else
    noise(sentences, words, math.random(3, 10), 5)
  end
  return M.shuffle(sentences)
end

local A = "a b c d. a c. b d. a b."
local B = "e f. g h. e g. f h."
local D = "b e. d f. b d. e f."
local L = "a b c. d e f. a d. b e. c f"
local R = "d e f. g h i. d g. e h. f i"
local CUBE = { ["1,1"] = 6, ["1,1,1"] = 1 }
local LADDER = { ["1,1"] = 2, ["2,1"] = 1 }

--- Books in the order they are posted, counts when all is quiet, and how the digest of the dump begins.
--- counts: sentences, words, pairs, phrases; nil where the specification does not say.
M.scenarios = {
  { "up by origin", { A, B, "b f. c g. d h. a e." }, { 12, 8, 13, 3 }, CUBE, "0d4516ac1d41a132" },
  { "up by hop", { A, B, "c g. d h. a e. b f." }, { 12, 8, 13, 3 }, CUBE, "0d4516ac1d41a132" },
  { "up by contents", { A, B, "c g. a e. b f. d h." }, { 12, 8, 13, 3 }, CUBE, "0d4516ac1d41a132" },
  { "up by ortho forward", { A, "c g. a e. b f. d h.", B }, { 12, 8, 13, 3 }, CUBE, "0d4516ac1d41a132" },
  { "up by ortho backward", { "c g. a e. b f. d h.", B, A }, { 12, 8, 13, 3 }, CUBE, "0d4516ac1d41a132" },
  { "over by origin", { A, D, "c d f. a b e." }, { 9, 6, 8, 5 }, LADDER, "36efa001d618000a" },
  { "over by hop", { A, D, "a b e. c d f." }, { 9, 6, 8, 5 }, LADDER, "36efa001d618000a" },
  {
    "over by contents",
    { L, R, "a d g. b e h. c f i" },
    { 12, 9, 12, 6 },
    { ["1,1"] = 4, ["2,1"] = 4, ["2,2"] = 1 },
    "b7cd72a6ff948cf0",
  },
  { "over by ortho forward", { "c d f. a b e.", A, D }, { 9, 6, 8, 5 }, LADDER, "36efa001d618000a" },
  { "over by ortho backward", { "c d f. a b e.", D, A }, { 9, 6, 8, 5 }, LADDER, "36efa001d618000a" },
  {
    "over from an inner corner",
    { "a e i. b f j. c g k. a c. b d. e f. e g. f h. i j. i k. j l. a b. c d. g h. k l. d h. h l", "d h l" },
    {},
    { ["1,1"] = 11, ["2,1"] = 4, ["1,1,1"] = 2, ["2,1,1"] = 1 },
  },
  { "words without letters", { "1 2 3. a b" }, { 1, 2, 1, 0 }, {}, "e3b0c44298fc1c14" },
}

return M
