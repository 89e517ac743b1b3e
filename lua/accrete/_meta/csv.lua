---@meta accrete.csv
-- luacheck: ignore 211 212 221 241

---@class accrete.CsvReading
---@field header? boolean|string[] true: the first record has the names (default); false: rows are lists; or the names
---@field separator? string one byte; ","
---@field null? any what NULL, an empty value without quotes, reads as; else nil by name, csv.null in lists

---@class accrete.CsvWriting
---@field fields? string[] names in order; else all names of all rows, sorted
---@field header? boolean false: no line of names
---@field separator? string ","
---@field newline? "\n"|"\r\n"

---@alias accrete.CsvRow table<string, any>|any[] by name, or a list

local M = {}

---@type lightuserdata
M.null = nil

--- Raises "input" with line and column.
---@param text string
---@param options? accrete.CsvReading
---@return accrete.CsvRow[] rows
---@return string[]? names
function M.parse(text, options) end

--- for row, line in csv.rows(path) do; gzip and zstd are unpacked, "-" is standard input.
---@param path string
---@param options? accrete.CsvReading
---@return fun(reader: any): accrete.CsvRow?, integer?
---@return any reader
function M.rows(path, options) end

---@param rows accrete.CsvRow[]|fun(): accrete.CsvRow?
---@param options? accrete.CsvWriting
---@return string
function M.format(rows, options) end

---@param path string "-" is standard output
---@param rows accrete.CsvRow[]|fun(): accrete.CsvRow?
---@param options? accrete.CsvWriting
---@return integer rows written
function M.write(path, rows, options) end

return M
