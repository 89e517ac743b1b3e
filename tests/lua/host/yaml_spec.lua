local json = require("accrete.json")
local yaml = require("accrete.yaml")
local fixture = dofile("tests/lua/host/fixture.lua")

local function reads(wanted, text)
  assert.equal(wanted, json.encode(yaml.parse(text)))
end

local function refuses(message, text)
  local err = fixture.error_of(yaml.parse, text)
  assert(err.message:find(message, 1, true), message .. " / " .. err.message)
  return err
end

describe("yaml", function()
  it("reads lists and maps in both styles", function()
    reads('{"a":[1,[2,3],{"x":"y","z":[]}],"b":{"c":{}},"d":[4,{"e":5}]}', [[
a:
- 1
- - 2
  - 3
- x: y
  z: []
b:
  c: {}
d: [4, {e: 5}]
]])
  end)

  it("tells null, booleans, numbers and texts by the core schema", function()
    reads('[null,null,null,true,false,false]', "[~, null, NULL, true, False, FALSE]")
    reads('[1,-2,3,0,255,15,9007199254740993,-9223372036854775808]',
      "[1, -2, +3, 0, 0xfF, 0o17, 9007199254740993, -9223372036854775808]")
    reads("[1.5,0.5,-2,1000,0.01,6.02e+23]", "[1.5, .5, -2., 1e3, 1E-2, 6.02e23]")
    reads('["yes","no","on","off","1_000","1:30","2020-01-01","0x","1e","+","-","1.2.3","nul","true "]',
      "[yes, no, on, off, 1_000, '1:30', 2020-01-01, 0x, 1e, +, '-', 1.2.3, nul, 'true ']")
    reads('["1","null","true","~",""]', [=[["1", 'null', "true", '~', ""]]=])
    assert.equal(1 / 0, yaml.parse(".inf"))
    assert.equal(-1 / 0, yaml.parse("-.Inf"))
    local nan = yaml.parse(".nan")
    assert.is_true(nan ~= nan)
    assert.equal("9007199254740993LL", tostring(yaml.parse("9007199254740993")))
    assert.equal(yaml.null, yaml.parse("a:").a)
  end)

  it("reads blocks of lines", function()
    reads('{"a":"x\\ny\\n","b":"x y","c":"x\\n\\n"}', "a: |\n  x\n  y\nb: >-\n  x\n  y\nc: |+\n  x\n\n")
  end)

  it("takes keys as texts", function()
    reads('{"1":"a","null":"b","x y":"c"}', '1: a\nnull: b\n"x y": c')
    refuses('line 2, column 1: wanted the key "1" once, got it again', '1: a\n"1": b')
    refuses("line 1, column 3: wanted a text as key, got a list", "? [a]\n: b")
    refuses("wanted a text as key, got a map", "{{a: 1}: 2}")
    refuses("wanted a text as key, got nothing", "? \n: b")
    refuses("wanted a text as key, got an alias", "- &a x\n- {*a : 1}")
  end)

  it("copies what an alias names", function()
    local value = yaml.parse("a: &x {k: [], l: false}\nb: *x\nc: &y false\nd: *y\n&z e: *z")
    assert.equal('{"a":{"k":[],"l":false},"b":{"k":[],"l":false},"c":false,"d":false,"e":"e"}', json.encode(value))
    value.a.k[1] = 1
    assert.equal(0, #value.b.k)
    refuses("line 1, column 4: there is no anchor &x before this alias", "a: *x")
    refuses("line 1, column 9: alias *x stands inside of what it names", "a: &x [ *x ]")
    refuses("there is no anchor &x", "a: 1\nb: *x")
    assert.equal("input", fixture.error_of(yaml.parse_all, "--- &x 1\n--- *x\n").code)
  end)

  it("stays small and shallow whatever aliases and brackets say", function()
    local laughs = { "a: &a [x, x, x, x, x, x, x, x, x, x]" }
    local chain = { "a0: &a0 [x]" }
    for i = 1, 20 do
      local name, before = string.char(97 + i), string.char(96 + i)
      laughs[#laughs + 1] = ("%s: &%s [%s]"):format(name, name, ("*" .. before .. ", "):rep(10))
    end
    for i = 1, 2000 do
      chain[#chain + 1] = ("a%d: &a%d [*a%d]"):format(i, i, i - 1)
    end
    local started = os.clock()
    assert.equal("limit", refuses("aliases make more than 100000 values", table.concat(laughs, "\n")).code)
    assert.equal("limit", refuses("100000", table.concat(chain, "\n")).code)
    for _, piece in ipairs { "[", "{a: ", "- ", "x: [" } do
      assert.equal("limit", refuses("nested deeper than 1000", piece:rep(100000)).code)
    end
    assert(os.clock() - started < 5)
    assert.truthy(yaml.parse(("["):rep(1000) .. ("]"):rep(1000)))
  end)

  it("refuses what readers disagree about", function()
    refuses("line 1, column 4: wanted a value without a tag, got tag:yaml.org,2002:int", "a: !!int 1")
    refuses("wanted a value without a tag, got !x", "a: !x {}")
    refuses("wanted a value without a tag, got !", "! a")
    refuses("line 3, column 3: merge keys are not read", "a: &x {b: 1}\nc:\n  <<: *x")
    reads('{"<<":1}', '"<<": 1')
    refuses("0644 is an octal number for some readers", "mode: 0644")
    refuses("wanted an integer of at most 64 bits", "9223372036854775808")
    refuses("line 3, column 1: wanted one document, got a second one", "--- a\n\n--- b")
  end)

  it("reads several documents when asked to", function()
    assert.equal('[1,[2],null,"x"]', json.encode(yaml.parse_all("--- 1\n--- [2]\n---\n--- x\n...\n")))
    assert.same({}, yaml.parse_all(""))
    assert.equal(yaml.null, yaml.parse(""))
    assert.equal(yaml.null, yaml.parse("# a comment\n"))
  end)

  it("says line and column of what is no YAML", function()
    local err = fixture.error_of(function() yaml.parse("a: 1\nb: c: d") end)
    assert.equal("YAML line 2, column 5: mapping values are not allowed in this context", err.message)
    assert.equal("input", err.code)
    assert.truthy(err.where:find("yaml_spec.lua:%d+$"))
    refuses("line 3, column 1: did not find expected ',' or ']' while parsing a flow sequence, which begins in line 2",
      "a:\n  [1\n")
    refuses("byte 2: invalid", "a\255")
    refuses("control characters are not allowed", "a\0")
    refuses("wanted a text, got table", {})
  end)

  it("writes blocks, sorted keys, and quotes where some reader would see something else", function()
    assert.equal([[
big: 1.0e+300
empty: {}
few: []
"key: with": 1
lines: |
  one

    two
list:
  - 1
  - - 2
    - 3
  - a: b
    c: {}
"n": "no"
none: null
quoted:
  - ""
  - " x"
  - "1"
  - "1:30"
  - "2020-01-01"
  - "# x"
  - "a: b"
  - "a:"
  - "Yes"
  - "~"
  - "- x"
  - "\t"
  - "a\u0000"
  - "\x85\u2028\ufeff\x7f"
url: http://x/y?z=1
]], yaml.format {
      big = 1e300, empty = {}, few = yaml.array {}, ["key: with"] = 1, lines = "one\n\n  two\n", n = "no",
      list = { 1, { 2, 3 }, { a = "b", c = {} } }, none = yaml.null, url = "http://x/y?z=1",
      quoted = { "", " x", "1", "1:30", "2020-01-01", "# x", "a: b", "a:", "Yes", "~", "- x", "\t", "a\0",
        "\194\133\226\128\168\239\187\191\127" },
    })
    assert.equal("- .nan\n- .inf\n- -.inf\n- 9007199254740993\n- 0.1\n",
      yaml.format { 0 / 0, 1 / 0, -1 / 0, 9007199254740993LL, 0.1 })
    assert.equal("null\n", yaml.format(nil))
  end)

  it("refuses what YAML cannot say", function()
    local cycle = {}
    cycle[1] = cycle
    for _, value in ipairs { "\255", { 1, nil, 3 }, { 1, a = 2 }, { [1.5] = 1 }, { ["\255"] = 1 }, print } do
      assert.equal("input", fixture.error_of(yaml.format, value).code)
    end
    local err = fixture.error_of(yaml.format, cycle)
    assert.equal("limit", err.code, tostring(err))
  end)

  it("reads back what it wrote, whatever it is", function()
    local pieces = { "", " ", "\n", "a", ":", "#", "- ", "'", '"', "\\", "é", "\t", "\r", "1", ".", "?", "|", ">", "&",
      "*", "!", "%", "@", "`", "{", "}", "[", "]", ",", "---", "...", "~", "null", "yes", "0", "\127", "\194\133",
      "\194\160", "\226\128\169", "\239\187\191", "\239\191\191", "\240\159\152\128", "\1", "=", "<<", "  ", "x y" }
    local function text()
      local parts = {}
      for p = 1, math.random(0, 5) do
        parts[p] = pieces[math.random(#pieces)]
      end
      return table.concat(parts)
    end
    local function value(depth)
      local dice = math.random(depth > 3 and 5 or 8)
      if dice <= 2 then
        return text()
      elseif dice == 3 then
        return math.random() < 0.5 and math.random(-1000, 1000) or math.random() * 10 ^ math.random(-20, 20)
      elseif dice == 4 then
        return math.random() < 0.5
      elseif dice == 5 then
        return math.random() < 0.5 and yaml.null or 9007199254740993LL
      end
      local made = dice == 6 and yaml.array {} or {}
      for i = 1, math.random(0, 4) do
        if dice == 6 then
          made[i] = value(depth + 1)
        else
          made[math.random() < 0.05 and ("k"):rep(1100) .. i or text()] = value(depth + 1)
        end
      end
      return made
    end
    math.randomseed(13)
    for _ = 1, 5000 do
      local wanted = value(0)
      local written = yaml.format(wanted)
      local ok, got = pcall(yaml.parse, written)
      assert(ok and json.encode(got) == json.encode(wanted), written .. "\n" .. tostring(got))
    end
  end)
end)
