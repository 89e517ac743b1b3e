--- CSV as RFC 4180 has it, read by the scanner that `accrete ingest` uses. Values are texts; tonumber() makes numbers.
--- NULL is an empty value without quotes: nil in a row by name, csv.null in a list. "" is the empty text.
---
--- Options of reading: header = true (the first record has the names), false (rows are lists) or a list of names;
--- separator = "," (one byte); null = what NULL reads as, "" for instance.
--- Options of writing: fields = { names in order }, header = true, separator = ",", newline = "\n".
local C = require("accrete.csv.c")
local errors = require("accrete.error")
local text = require("accrete.text")

local M = {}

--- Stands for NULL in lists, since a table cannot hold nil. The same value as json.null.
M.null = C.null

local READING, WRITING = { "header", "null", "separator" }, { "fields", "header", "newline", "separator" }

local function check_options(options, known)
  if options == nil then
    return {}
  elseif type(options) ~= "table" then
    errors.raise("input", "csv: wanted a table of options, got %s", type(options))
  end
  for name in pairs(options) do
    local is_known = false
    for _, other in ipairs(known) do
      is_known = is_known or name == other
    end
    if not is_known then
      local nearest = text.closest(tostring(name), known)
      errors.raise("input", "csv: unknown option %s%s", tostring(name),
        nearest and "; did you mean " .. nearest .. "?" or "")
    end
  end
  return options
end

local function separator_of(options)
  local separator = options.separator or ","
  if type(separator) ~= "string" or #separator ~= 1 or separator:find("[\"\r\n%z]") then
    errors.raise("input", "csv: separator: wanted one byte that is no quote and ends no line, got %s",
      tostring(separator))
  end
  return separator
end

local function check_names(what, names)
  local met = {}
  for i = 1, #names do
    local name = names[i]
    if type(name) ~= "string" or met[name] then
      errors.raise("input", "csv: %s: wanted a list of different names, got %s", what,
        met[name] and name .. " twice" or type(name))
    end
    met[name] = true
  end
  if #names == 0 then
    errors.raise("input", "csv: %s: wanted a list of names, got an empty one", what)
  end
end

local function reader(is_path, source, options)
  options = check_options(options, READING)
  local header = options.header
  if header == nil then
    header = true
  elseif type(header) == "table" then
    check_names("header", header)
  elseif type(header) ~= "boolean" then
    errors.raise("input", "csv: header: wanted true, false or a list of names, got %s", type(header))
  end
  return C.reader(is_path, source, separator_of(options), header, options.null)
end

local function check_text(what, value)
  if type(value) ~= "string" then
    errors.raise("input", "csv: wanted %s, got %s", what, type(value))
  end
end

--- parse(text [, options]) -> rows, names. Raises an accrete.Error with line and column.
function M.parse(source, options)
  check_text("a text", source)
  return C.all(reader(false, source, options))
end

--- for row, line in csv.rows(path [, options]) do: record by record, so that a file may be larger than memory; gzip and
--- zstd are unpacked, "-" is standard input.
function M.rows(path, options)
  check_text("a path", path)
  return C.next, reader(true, path, options)
end

local function add_names(names, met, row)
  for name in pairs(row) do
    if type(name) ~= "string" then
      errors.raise("input", "csv: wanted rows by name or lists, got a row with the key %s", tostring(name))
    end
    if not met[name] then
      met[name] = true
      names[#names + 1] = name
    end
  end
end

local function check_row(row, number, count)
  if type(row) ~= "table" then
    errors.raise("input", "CSV row %d: wanted a table, got %s", number, type(row))
  end
  if count and #row ~= count then
    errors.raise("input", "CSV row %d: wanted %d values, got %d; csv.null stands for NULL", number, count, #row)
  end
end

--- The sorted names of all rows.
local function names_of(rows)
  if type(rows) ~= "table" then
    errors.raise("input", "csv: fields: wanted a list of names, since a function's rows cannot be looked at before")
  end
  local names, met = {}, {}
  for number, row in ipairs(rows) do
    check_row(row, number)
    add_names(names, met, row)
  end
  table.sort(names)
  return names
end

--- Each row once, from a list or from a function that returns one and then nil.
local function each(rows)
  if type(rows) == "function" then
    return rows
  elseif type(rows) ~= "table" then
    errors.raise("input", "csv: wanted a list of rows or a function that gives them, got %s", type(rows))
  end
  local at = 0
  return function()
    at = at + 1
    return rows[at]
  end
end

--- What decides how rows are written: names (nil: none) and, of lists, the number of values.
local function layout_of(rows, first, options)
  local names, count = options.fields, nil
  if names ~= nil then
    if type(names) ~= "table" then
      errors.raise("input", "csv: fields: wanted a list of names, got %s", type(names))
    end
    check_names("fields", names)
  end
  if first ~= nil then
    check_row(first, 1)
    if first[1] ~= nil then
      count = names and #names or #first
    elseif not names then
      names = names_of(rows)
      check_names("fields", names)
    end
  end
  return names, count
end

local function write_all(rows, options, put)
  options = check_options(options, WRITING)
  local separator, newline = separator_of(options), options.newline or "\n"
  if newline ~= "\n" and newline ~= "\r\n" then
    errors.raise("input", 'csv: newline: wanted "\\n" or "\\r\\n"')
  end
  local next_row = each(rows)
  local row, number = next_row(), 0
  local names, count = layout_of(rows, row, options)
  if names and options.header ~= false then
    put(C.line(names, #names, separator, 0), newline)
  end
  while row ~= nil do
    number = number + 1
    check_row(row, number, count)
    put(C.line(row, count or names, separator, number), newline)
    row = next_row()
  end
  return number
end

--- format(rows [, options]) -> text. Rows by name (without `fields` all names of all rows, sorted) or lists, in a list
--- or given by a function. Values are texts, numbers, booleans, int64 cdata, nil and csv.null.
function M.format(rows, options)
  local parts, size = {}, 0
  write_all(rows, options, function(line, newline)
    parts[size + 1], parts[size + 2] = line, newline
    size = size + 2
  end)
  return table.concat(parts)
end

--- write(path, rows [, options]) -> how many rows; "-" is standard output. Row by row, so that a function may give more
--- than memory holds.
function M.write(path, rows, options)
  check_text("a path", path)
  local file, reason
  if path == "-" then
    file = io.stdout
  else
    file, reason = io.open(path, "wb")
  end
  if not file then
    errors.raise("system", "csv: cannot write %s", reason)
  end
  local ok, result = pcall(write_all, rows, options, function(line, newline)
    local done, problem = file:write(line, newline)
    if not done then
      errors.raise("system", "csv: cannot write %s: %s", path, problem)
    end
  end)
  local closed, problem
  if path == "-" then
    closed, problem = file:flush()
  else
    closed, problem = file:close()
  end
  if not ok then
    error(result, 0)
  elseif not closed then
    errors.raise("system", "csv: cannot write %s: %s", path, problem)
  end
  return result
end

return M
