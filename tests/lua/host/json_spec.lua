local ffi = require("ffi")
local json = require("accrete.json")
local fixture = dofile("tests/lua/host/fixture.lua")

--- The upper half of a finite double: LuaJIT may not see NaNs with other bits than its own.
local function random_top()
  return math.random(0, 1) * 2 ^ 31 + math.random(0, 0x7FEFFFFF)
end

describe("json", function()
  it("keeps integers beyond 2^53 exactly", function()
    local value = json.decode("[9007199254740993, -9223372036854775808, 9007199254740992]")
    assert.equal("9007199254740993LL", tostring(value[1]))
    assert.equal("-9223372036854775808LL", tostring(value[2]))
    assert.equal(2 ^ 53, value[3])
    assert.equal("[9007199254740993,-9223372036854775808,9007199254740992]", json.encode(value))
  end)

  it("refuses integers beyond 64 bits instead of rounding them", function()
    local err = fixture.error_of(json.decode, "[9223372036854775808]")
    assert.equal("input", err.code)
    assert.truthy(err.message:find("line 1", 1, true))
  end)

  it("writes keys sorted, numbers as short as they may be", function()
    assert.equal('{"A":0.1,"a":[1,2.5,1e+300],"b":"x"}', json.encode { b = "x", a = { 1, 2.5, 1e300 }, A = 0.1 })
  end)

  it("tells an empty list from an empty object", function()
    assert.equal("{}", json.encode {})
    assert.equal("[]", json.encode(json.array {}))
    assert.equal('{"a":[],"b":{}}', json.encode(json.decode('{"b": {}, "a": []}')))
  end)

  it("keeps null, zero bytes and every escape", function()
    local text = '["\\u0000\\u001f\\"\\\\\\b\\f\\n\\r\\t\195\164",null]'
    assert.equal(text, json.encode(json.decode(text)))
    assert.equal(json.null, json.decode("null"))
  end)

  it("reads back what it wrote for random doubles", function()
    local bits = ffi.new("union { uint32_t half[2]; double value; }")
    math.randomseed(7)
    for _ = 1, 10000 do
      bits.half[0], bits.half[1] = math.random(0, 2 ^ 32 - 1), random_top()
      local value = bits.value
      assert(json.decode(json.encode(value)) == value, "lost " .. ("%.17g"):format(value))
    end
  end)

  it("refuses repeated keys, bad UTF-8, NaN, holes, functions and cycles", function()
    local cycle = {}
    cycle[1] = cycle
    for _, text in ipairs { '{"a":1,"a":2}', '"\255"', "NaN", "[1,]", "", "1 2" } do
      assert.equal("input", fixture.error_of(json.decode, text).code)
    end
    for _, value in ipairs { 0 / 0, 1 / 0, "\255", { 1, nil, 3 }, { 1, a = 2 }, { [1.5] = 1 }, print } do
      assert.equal("input", fixture.error_of(json.encode, value).code)
    end
    assert.equal("limit", fixture.error_of(json.encode, cycle).code)
  end)

  it("works on after an error in the middle", function()
    fixture.error_of(json.encode, { a = { b = { c = print } } })
    assert.equal('{"a":1}', json.encode { a = 1 })
  end)

  it("indents when asked to", function()
    local indented = json.encode({ a = { 1, 2 }, b = {} }, { indent = 2 })
    assert.equal('{\n  "a": [\n    1,\n    2\n  ],\n  "b": {}\n}', indented)
  end)

  it("names the line of the caller", function()
    local err = fixture.error_of(function()
      json.decode("{")
    end)
    assert.truthy(tostring(err):find("json_spec.lua:%d+: JSON line 1"))
  end)
end)
