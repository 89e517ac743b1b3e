local text = require("accrete.text")
local fixture = dofile("tests/lua/host/fixture.lua")

describe("text", function()
  it("tells UTF-8 from what is not, and where", function()
    assert.is_true(text.is_utf8("aä€😀"))
    assert.same({ false, 3 }, { text.is_utf8("ab\255c") })
    assert.is_false((text.is_utf8("\237\160\128")))
  end)

  it("walks code points and makes them again", function()
    local codes, again = {}, {}
    for place, code in text.codes("aä€😀") do
      codes[#codes + 1] = place .. ":" .. code
      again[#again + 1] = text.char(code)
    end
    assert.same({ "1:97", "2:228", "4:8364", "7:128512" }, codes)
    assert.equal("aä€😀", table.concat(again))
    assert.equal(4, text.length("aä€😀"))
    assert.equal("input", fixture.error_of(text.codes, "\255").code)
  end)

  it("lowers ASCII and Latin-1 and nothing else", function()
    assert.equal("abcàÿ×þßΩ", text.lower("ABCÀÿ×Þßß"):gsub("ßß", "ßΩ"))
    assert.equal("Ω", text.lower("Ω"))
  end)

  it("trims and splits", function()
    assert.equal("a b", text.trim(" \t a b\n"))
    assert.equal("", text.trim("   "))
    assert.same({ "a", "", "b.c", "" }, text.split("a,,b.c,", ","))
    assert.same({ "" }, text.split("", ","))
    assert.has_error(function() text.split("a", "") end)
  end)

  it("finds words and sentences", function()
    assert.same({ "it's", "quoted", "naïve", "words", "42" }, text.words("it's 'quoted', naïve words: 42"))
    assert.same({ "One two.", "Three!", '"Four?"', "five", "six e.g.7" },
      text.sentences('One\ntwo. Three!  "Four?" five\n\n six e.g.7'))
    assert.same({}, text.sentences(" \n\n "))
  end)

  it("hashes", function()
    assert.equal("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", text.sha256("abc"))
    assert.equal("00ff", text.hex("\0\255"))
    assert.equal("\0\255", text.unhex("00FF"))
    assert.is_nil(text.unhex("0g"))
    assert.is_nil(text.unhex("012"))
  end)

  it("counts edits and guesses what was meant", function()
    assert.equal(0, text.distance("", ""))
    assert.equal(3, text.distance("", "abc"))
    assert.equal(1, text.distance("abcd", "acbd"))
    assert.equal(3, text.distance("kitten", "sitting"))
    assert.equal("from", text.closest("frm", { "to", "from" }))
    assert.is_nil(text.closest("zebra", { "to", "from" }))
  end)
end)
