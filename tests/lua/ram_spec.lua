local ram = require("accrete.ram")

describe("ram", function()
  it("forgets what was not used for longest", function()
    local cache = ram.cache { entries = 2 }
    cache:set("a", 1)
    cache:set("b", 2)
    cache:get("a")
    cache:set("c", 3)
    assert.is_nil(cache:get("b"))
    assert.equal(1, cache:get("a"))
    assert.equal(3, cache:get("c"))
  end)

  it("counts hits, misses and what it forgot", function()
    local cache = ram.cache { entries = 1 }
    cache:set("a", false)
    assert.equal(false, cache:get("a"))
    cache:get("b")
    cache:set("b", 2)
    assert.is_false(cache:has("a"))
    local stats = cache:stats()
    assert.same({ 1, 1, 1, 1 }, { stats.hits, stats.misses, stats.evicted, stats.entries })
  end)

  it("stays within its bytes whatever comes", function()
    local cache = ram.cache { bytes = 10000 }
    math.randomseed(3)
    for i = 1, 5000 do
      cache:set(math.random(1, 300), ("x"):rep(math.random(0, 12000)))
      assert(cache.bytes <= 10000, "too many bytes at " .. i)
    end
    cache:clear()
    assert.equal(0, cache.bytes)
    assert.equal(0, cache.entries)
  end)

  it("agrees with a plain list of uses", function()
    local cache, order, values = ram.cache { entries = 20 }, {}, {}
    math.randomseed(5)
    local function use(key)
      for i = #order, 1, -1 do
        if order[i] == key then
          table.remove(order, i)
        end
      end
      table.insert(order, 1, key)
    end
    for i = 1, 20000 do
      local key = math.random(1, 40)
      if math.random() < 0.5 then
        cache:set(key, i)
        values[key] = i
        use(key)
        if #order > 20 then
          values[table.remove(order)] = nil
        end
      else
        assert(cache:get(key) == values[key], "differs at " .. i)
        if values[key] then
          use(key)
        end
      end
    end
  end)

  it("takes a value out when it is set to nil", function()
    local cache = ram.cache { entries = 5 }
    cache:set("a", 1)
    cache:set("a", nil)
    assert.equal(0, cache.entries)
    assert.is_nil(cache:get("a"))
  end)

  it("makes what it lacks, once", function()
    local cache, made = ram.cache { entries = 5 }, 0
    for _ = 1, 3 do
      assert.equal("A", cache:fetch("a", function(key)
        made = made + 1
        return key:upper()
      end))
    end
    assert.equal(1, made)
  end)

  it("refuses to be unbounded, and keys that never compare equal", function()
    assert.has_error(function() ram.cache {} end)
    assert.has_error(function() ram.cache { entries = 0 } end)
    assert.has_error(function() ram.cache { entries = 1 }:set(1LL, 1) end)
  end)
end)
