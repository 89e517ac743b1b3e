--- How an ortho is written down: as a line of the canonical dump, and as a block of words to look at.
local M = {}

--- How many words an ortho of these dims has.
---@param dims string
function M.size(dims)
  local words = 1
  for steps in dims:gmatch("%d+") do
    words = words * (tonumber(steps) + 1)
  end
  return words
end

--- Dims in canonical form: largest first, no blanks. "1, 2" is "2,1".
---@param dims string
function M.dims(dims)
  local steps = {}
  for number in dims:gmatch("%d+") do
    steps[#steps + 1] = tonumber(number)
  end
  table.sort(steps, function(a, b)
    return a > b
  end)
  return table.concat(steps, ",")
end

--- An ortho as one line of the canonical dump.
---@return string line without its end
function M.line(ortho)
  return ortho.dims .. "\t" .. ortho.axes .. "\t" .. ortho.words
end

--- All orthos as the canonical dump: one a line, sorted by bytes.
---@param lines string[] dump lines, in any order; sorted in place
---@return string
function M.dump(lines)
  table.sort(lines) -- by bytes in the C locale, which LuaJIT always uses
  lines[#lines + 1] = ""
  local text = table.concat(lines, "\n")
  lines[#lines] = nil
  return text
end

local function split_axes(axes)
  local names, sizes = {}, {}
  for name, steps in axes:gmatch("([^:,]+):(%d+)") do
    names[#names + 1], sizes[#sizes + 1] = name, tonumber(steps) + 1
  end
  return names, sizes
end

local function split_words(list)
  local words = {}
  for word in list:gmatch("[^ ]+") do
    words[#words + 1] = word
  end
  return words
end

--- All lines of an ortho along all its axes, each as its words with blanks between.
---@return string[]
function M.lines(ortho)
  local _, sizes = split_axes(ortho.axes)
  local cells = split_words(ortho.words)
  local lines, step = {}, #cells
  for axis = 1, #sizes do
    step = step / sizes[axis] -- from a cell to the next one along the axis
    for first = 1, #cells do
      if math.floor((first - 1) / step) % sizes[axis] == 0 then
        local line = {}
        for i = 1, sizes[axis] do
          line[i] = cells[first + (i - 1) * step]
        end
        lines[#lines + 1] = table.concat(line, " ")
      end
    end
  end
  return lines
end

local function length(word) -- code points
  return #word:gsub("[\128-\191]", "")
end

local function draw_table(cells, first, rows, columns, row_step, column_step)
  local widths, lines = {}, {}
  for column = 1, columns do
    widths[column] = 0
    for row = 1, rows do
      local word = cells[first + (row - 1) * row_step + (column - 1) * column_step]
      widths[column] = math.max(widths[column], length(word))
    end
  end
  for row = 1, rows do
    local line = {}
    for column = 1, columns do
      local word = cells[first + (row - 1) * row_step + (column - 1) * column_step]
      line[column] = column < columns and word .. (" "):rep(widths[column] - length(word)) or word
    end
    lines[row] = "    " .. table.concat(line, "  ")
  end
  return table.concat(lines, "\n")
end

--- An ortho drawn as a block of words. The longest axis runs across, the next one down; each further
--- axis makes a stack of tables, each headed by how far along these axes it lies.
---@return string text ends with a line end
function M.draw(ortho)
  local names, sizes = split_axes(ortho.axes)
  local cells = split_words(ortho.words)
  local steps, order = {}, {}
  local step = 1
  for axis = #sizes, 1, -1 do
    steps[axis], step = step, step * sizes[axis]
  end
  for axis = 1, #sizes do
    order[axis] = axis
  end
  table.sort(order, function(a, b)
    if sizes[a] ~= sizes[b] then
      return sizes[a] > sizes[b]
    end
    return a < b
  end)

  local across, down = order[1], order[2]
  local out = {}
  local function stack(depth, first, label)
    if depth > #order then
      if label ~= "" then
        out[#out + 1] = label
      end
      out[#out + 1] = draw_table(cells, first, sizes[down], sizes[across], steps[down], steps[across])
      return
    end
    local axis = order[depth]
    for i = 0, sizes[axis] - 1 do
      local more = ("%s %d"):format(names[axis], i)
      stack(depth + 1, first + i * steps[axis], label == "" and more or label .. ", " .. more)
    end
  end
  stack(3, 1, "")
  return table.concat(out, "\n") .. "\n"
end

return M
