local csv = require("accrete.csv")
local fixture = dofile("tests/lua/host/fixture.lua")

local null = csv.null

local function file_with(text)
  local path = os.tmpname()
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
  finally(function() os.remove(path) end)
  return path
end

local function text_of(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

describe("csv", function()
  it("reads rows by the names of the header", function()
    local rows, names = csv.parse('name,age\nAnna,31\r\n"Ben ""B"", of\nBonn",\n\n"",0')
    assert.same({ { name = "Anna", age = "31" }, { name = 'Ben "B", of\nBonn' }, { name = "", age = "0" } }, rows)
    assert.same({ "name", "age" }, names)
  end)

  it("reads lists without a header, NULL as csv.null", function()
    local rows, names = csv.parse('a;;""\n1;"2;3";4', { header = false, separator = ";" })
    assert.same({ { "a", null, "" }, { "1", "2;3", "4" } }, rows)
    assert.is_nil(names)
  end)

  it("takes names that are given, and what NULL is to be", function()
    local rows, names = csv.parse("1,\n,2", { header = { "a", "b" }, null = "-" })
    assert.same({ { a = "1", b = "-" }, { a = "-", b = "2" } }, rows)
    assert.same({ "a", "b" }, names)
    assert.same({ { "", "x" } }, (csv.parse(",x", { header = false, null = "" })))
  end)

  it("reads nothing from nothing, and skips a byte order mark", function()
    assert.same({}, (csv.parse("")))
    assert.same({}, (csv.parse("a,b\n")))
    assert.same({ { a = "1" } }, (csv.parse("\239\187\191a\n1\n")))
  end)

  it("says line and column of what is wrong", function()
    for text, message in pairs {
      ["a,b\n1,2\n3\n"] = "CSV line 3: wanted 2 values as in the header, got 1",
      ['a,b\n1,x"y\n'] = "CSV line 2, column 2: a quote inside a value that does not begin with one",
      ['a,b\n"x"y,1\n'] = 'CSV line 2, column 1: wanted a comma after the closing quote, got "y"',
      ['a,b\n1,"x\n\n'] = "CSV line 2, column 2: the quote is never closed",
      ["a,b,a\n"] = 'CSV line 1, column 3: the header has "a" twice',
    } do
      local err = fixture.error_of(csv.parse, text)
      assert.equal(message, err.message)
      assert.equal("input", err.code)
    end
    assert.equal("CSV line 2: wanted 2 values as in the first record, got 1",
      fixture.error_of(csv.parse, "1,2\n3", { header = false }).message)
    local path = file_with('a,b\n1,2\n"x"y')
    local err = fixture.error_of(function()
      for _ in csv.rows(path) do end
    end)
    assert.equal(path .. ' line 3, column 1: wanted a comma after the closing quote, got "y"', err.message)
    assert.truthy(err.where:find("csv_spec.lua:%d+$"))
  end)

  it("reads a file row by row with the line each begins in", function()
    local path = file_with('a,b\n1,"x\ny"\n2,z\n')
    local seen = {}
    for row, line in csv.rows(path) do
      seen[#seen + 1] = line .. ":" .. row.a .. row.b
    end
    assert.same({ "2:1x\ny", "4:2z" }, seen)
  end)

  it("reads packed files, in memory that does not grow with them", function()
    local path = file_with("")
    local pipe = assert(io.popen("gzip -c >" .. path, "w"))
    pipe:write("n,text\n")
    for i = 1, 300000 do
      pipe:write(i, ",", ("x"):rep(20), "\n")
    end
    pipe:close()
    collectgarbage()
    local most, sum = 0, 0
    for row in csv.rows(path) do
      sum = sum + tonumber(row.n)
      most = math.max(most, collectgarbage("count"))
    end
    assert.equal(300000 * 300001 / 2, sum)
    assert(most < 100 * 1024, most .. " KiB")
  end)

  it("says which file cannot be read", function()
    assert.equal("system", fixture.error_of(csv.rows, "/nowhere/x.csv").code)
    local rows, reader = csv.rows("/tmp")
    local err = fixture.error_of(rows, reader)
    assert.equal("system", err.code)
    assert.truthy(err.message:find("^/tmp: "))
  end)

  it("writes what the next reader will read, quotes where they are needed", function()
    assert.equal('a,b\n1,"x,y"\n,"""q"""\n"",true\n', csv.format {
      { a = 1, b = "x,y" }, { b = '"q"' }, { a = "", b = true },
    })
    assert.equal("b;a\r\n0.1;9007199254740993\r\n", csv.format({ { a = 9007199254740993LL, b = 0.1, c = "left out" } },
      { fields = { "b", "a" }, separator = ";", newline = "\r\n" }))
    assert.equal('1,,x\n"a\rb",NaN,-Infinity\n', csv.format { { 1, null, "x" }, { "a\rb", 0 / 0, -1 / 0 } })
    assert.equal("x,y\n1,2\n", csv.format({ { 1, 2 } }, { fields = { "x", "y" } }))
    assert.equal("1,2\n", csv.format({ { x = 1, y = 2 } }, { header = false }))
    assert.equal("a\n", csv.format({}, { fields = { "a" } }))
    assert.equal("", csv.format {})
  end)

  it("writes a file from a function", function()
    local path, n = file_with(""), 0
    assert.equal(3, csv.write(path, function()
      n = n + 1
      return n <= 3 and { n = n } or nil
    end, { fields = { "n" } }))
    assert.equal("n\n1\n2\n3\n", text_of(path))
    assert.equal("system", fixture.error_of(csv.write, "/nowhere/x.csv", {}).code)
    local problem = {}
    assert.equal(problem, fixture.error_of(csv.write, path, function() error(problem) end))
  end)

  it("refuses what CSV cannot say", function()
    for message, arguments in pairs {
      ["column 1: cannot write a table"] = { { { a = {} } } },
      ["whose only value is NULL"] = { { { "a" }, { null } } },
      ["row 2: wanted 2 values, got 1"] = { { { 1, 2 }, { 3 } } },
      ["with the key 2"] = { { { [2] = 1 } } },
      ["row 2: wanted a table, got number"] = { { { a = 1 }, 2 } },
      ["fields: wanted a list of names"] = { function() return { a = 1 } end },
      ["a twice"] = { {}, { fields = { "a", "a" } } },
      ["unknown option feilds; did you mean fields?"] = { {}, { feilds = {} } },
      ["newline: wanted"] = { {}, { newline = "" } },
      ["wanted a list of rows"] = { 5 },
    } do
      local err = fixture.error_of(csv.format, arguments[1], arguments[2])
      assert(err.message:find(message, 1, true), message .. " / " .. err.message)
    end
    for _, options in ipairs { { separator = "" }, { separator = '"' }, { separator = ",," }, { header = 1 },
      { header = {} }, { header = { "a", "a" } }, { fields = {} }, 5 } do
      assert.equal("input", fixture.error_of(csv.parse, "a", options).code)
    end
  end)

  it("reads back what it wrote, whatever the texts are", function()
    local pieces = { "", ",", ";", '"', "\n", "\r", "\r\n", " ", "a", "NULL", "\255", "\0", "é", '""', "\t" }
    math.randomseed(11)
    for round = 1, 2000 do
      local rows, columns, separator = {}, math.random(1, 4), math.random() < 0.5 and "," or ";"
      for i = 1, math.random(1, 5) do
        rows[i] = {}
        for c = 1, columns do
          if columns > 1 and math.random() < 0.2 then
            rows[i][c] = null
          else
            local parts = {}
            for p = 1, math.random(0, 4) do
              parts[p] = pieces[math.random(#pieces)]
            end
            rows[i][c] = table.concat(parts)
          end
        end
      end
      local text = csv.format(rows, { separator = separator })
      assert.same(rows, (csv.parse(text, { header = false, separator = separator })), "round " .. round)
    end
  end)
end)
