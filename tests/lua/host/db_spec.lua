local ffi = require("ffi")
local db = require("accrete.db")
local fixture = dofile("tests/lua/host/fixture.lua")

--- The upper half of a finite double: LuaJIT may not see NaNs with other bits than its own.
local function random_top()
  return math.random(0, 1) * 2 ^ 31 + math.random(0, 0x7FEFFFFF)
end

describe("db", function()
  local schema, conn

  before_each(function()
    schema = fixture.schema()
    conn = schema.connect()
  end)

  after_each(function()
    schema.drop()
  end)

  local function conflict_once()
    local other = schema.connect()
    conn:run("CREATE TABLE account (name text, amount int8); INSERT INTO account VALUES ('a', 10), ('b', 20)")
    return function()
      other:transaction(function()
        other:value("SELECT sum(amount) FROM account")
        other:query("INSERT INTO account VALUES ('other', 1)")
      end)
    end
  end

  it("brings every type to Lua exactly", function()
    local row = conn:one([[SELECT 9007199254740993::int8 AS big, 9007199254740992::int8 AS edge, -5::int2 AS small,
      0.1::float8 AS tenth, 'NaN'::float8 AS nan, true AS yes, 'ä'::text AS text, NULL::text AS nothing,
      '\x00ff00'::bytea AS bytes, 12.30::numeric AS exact, '{"a": 1}'::json AS json,
      '00112233-4455-6677-8899-aabbccddeeff'::uuid AS id, '2020-01-02 03:04:05.678+00'::timestamptz AS time]])
    assert.equal("9007199254740993LL", tostring(row.big))
    assert.equal(2 ^ 53, row.edge)
    assert.equal(-5, row.small)
    assert.equal(0.1, row.tenth)
    assert.not_equal(row.nan, row.nan)
    assert.is_true(row.yes)
    assert.equal("ä", row.text)
    assert.is_nil(row.nothing)
    assert.equal("\0\255\0", row.bytes)
    assert.equal("12.30", row.exact)
    assert.equal('{"a": 1}', row.json)
    assert.equal("00112233-4455-6677-8899-aabbccddeeff", row.id)
    assert.equal("2020-01-02 03:04:05.678+00", row.time)
  end)

  it("brings arrays as lists, with db.null for NULL", function()
    local row = conn:one([=[SELECT ARRAY[1, NULL, 9223372036854775807]::int8[] AS n,
      ARRAY['a,b', 'NULL', NULL, 'q"\', ''] AS t, '{}'::text[] AS none, ARRAY[[1, 2], [3, 4]] AS grid,
      ARRAY['\x00', '\x5c22']::bytea[] AS b, '[0:1]={7,8}'::int4[] AS shifted, ARRAY[true, false] AS flags,
      NULL::int8[] AS nothing]=])
    assert.equal("9223372036854775807LL", tostring(row.n[3]))
    assert.equal(db.null, row.n[2])
    assert.same({ "a,b", "NULL", db.null, 'q"\\', "" }, row.t)
    assert.same({}, row.none)
    assert.same({ { 1, 2 }, { 3, 4 } }, row.grid)
    assert.same({ "\0", '\\"' }, row.b)
    assert.same({ 7, 8 }, row.shifted)
    assert.same({ true, false }, row.flags)
    assert.is_nil(row.nothing)
  end)

  it("sends every kind of parameter exactly", function()
    local all = {}
    for byte = 0, 255 do
      all[#all + 1] = string.char(byte)
    end
    local bytes = table.concat(all)
    local row = conn:one([=[SELECT $1::int8 AS a, $2::bytea AS b, $3::text AS c, $4::bool AS d, $5::float8 AS e,
      $6::int8[] AS f, $7::text[] AS g, $8::bytea[] AS h, $9::text IS NULL AS i, $10::numeric AS j,
      $11::float8 AS k]=],
      -9223372036854775807LL, bytes, "'; DROP TABLE x; --", false, 1 / 3, { 1, 2LL, db.null },
      { "a,b", '"', "\\", "NULL", db.null }, { bytes, "" }, nil, 0.1, -1 / 0)
    assert.equal("-9223372036854775807LL", tostring(row.a))
    assert.equal(bytes, row.b)
    assert.equal("'; DROP TABLE x; --", row.c)
    assert.is_false(row.d)
    assert.equal(1 / 3, row.e)
    assert.same({ 1, 2, db.null }, row.f)
    assert.same({ "a,b", '"', "\\", "NULL", db.null }, row.g)
    assert.same({ bytes, "" }, row.h)
    assert.is_true(row.i)
    assert.equal("0.1", row.j)
    assert.equal(-1 / 0, row.k)
  end)

  it("brings random doubles there and back", function()
    local bits = ffi.new("union { uint32_t half[2]; double value; }")
    local sent = {}
    math.randomseed(11)
    while #sent < 2000 do
      bits.half[0], bits.half[1] = math.random(0, 2 ^ 32 - 1), random_top()
      sent[#sent + 1] = bits.value
    end
    for i, value in ipairs(conn:value("SELECT $1::float8[]", sent)) do
      assert(value == sent[i], "lost " .. ("%.17g"):format(sent[i]))
    end
  end)

  it("refuses what would be rounded, cut or misread", function()
    for _, case in ipairs {
      { "SELECT $1::int8", 1.5 }, { "SELECT $1::int8", 2 ^ 60 }, { "SELECT $1::text", "a\0b" },
      { "SELECT $1::json", {} },
      { "SELECT $1::int8[]", { 1, nil, 3 } }, { "SELECT $1::int8[]", { a = 1 } }, { "SELECT $1::text", print },
      { "SELECT $1::int8", 1, 2 }, { "SELECT $1::int8" }, { "SELECT $1::int8[]", { 1.5 } },
    } do
      assert.equal("input", fixture.error_of(conn.query, conn, unpack(case, 1, 4)).code, case[1])
    end
  end)

  it("gives rows, their count, one row or one value", function()
    local rows, count = conn:query("SELECT g AS n FROM generate_series(1, 3) g")
    assert.same({ { n = 1 }, { n = 2 }, { n = 3 } }, rows)
    assert.equal(3, count)
    conn:run("CREATE TABLE t (n int8); INSERT INTO t VALUES (1), (2)")
    assert.same({ {}, 2 }, { conn:query("UPDATE t SET n = n + $1", 1) })
    assert.is_nil(conn:one("SELECT 1 WHERE $1", false))
    assert.is_nil(conn:value("SELECT 1 WHERE false"))
    assert.equal(5, conn:value("SELECT n + $1 FROM t WHERE n = 3", 2))
    assert.equal("input", fixture.error_of(conn.one, conn, "SELECT n FROM t").code)
  end)

  it("says code, SQLSTATE, words and the caller's line when SQL fails", function()
    local err = fixture.error_of(function()
      conn:query("SELECT * FROM nowhere WHERE n = $1", 1)
    end)
    assert.equal("database", err.code)
    assert.equal("42P01", err.sqlstate)
    assert.equal('relation "nowhere" does not exist', err.message)
    assert.truthy(tostring(err):find("db_spec.lua:%d+: relation"))
    assert.equal(1, conn:value("SELECT 1"))
  end)

  it("prepares once and then takes one round trip", function()
    local statement = conn:prepare("SELECT $1::int8 + 1 AS n")
    local before = conn:round_trips()
    for i = 1, 10 do
      assert.equal(i + 1, statement:value(i))
    end
    assert.equal(10, conn:round_trips() - before)
    assert.equal("42601", fixture.error_of(conn.prepare, conn, "SELEC 1").sqlstate)
  end)

  it("goes on with more statements than it keeps", function()
    for round = 1, 2 do
      for i = 1, 400 do
        assert.equal(i + round, conn:value("SELECT $1::int8 + " .. i, round))
      end
    end
    assert(conn:value("SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'lua%'") <= 256)
  end)

  it("notices that a table has changed under a statement", function()
    conn:run("CREATE TABLE t (n int8); INSERT INTO t VALUES (1)")
    assert.same({ n = 1 }, conn:one("SELECT * FROM t WHERE n = $1", 1))
    conn:run("ALTER TABLE t ADD name text DEFAULT 'x'")
    assert.same({ n = 1, name = "x" }, conn:one("SELECT * FROM t WHERE n = $1", 1))
  end)

  it("sends a pipeline in one round trip and gives results in order", function()
    local function three(p)
      p:query("SELECT $1::int8 AS n", 1)
      p:value("SELECT $1::text", "x")
      p:one("SELECT $1::bool AS b", nil)
      p:value("SELECT 4")
    end
    conn:pipeline(three)
    local before = conn:round_trips()
    assert.same({ { { n = 1 } }, "x", {}, 4 }, conn:pipeline(three))
    assert.equal(1, conn:round_trips() - before)
    assert.same({}, conn:pipeline(function() end))
  end)

  it("does all of a pipeline or nothing", function()
    conn:run("CREATE TABLE t (n int8 PRIMARY KEY)")
    local err = fixture.error_of(conn.pipeline, conn, function(p)
      p:query("INSERT INTO t VALUES ($1)", 1)
      p:query("INSERT INTO t VALUES ($1)", 1)
      p:query("INSERT INTO t VALUES ($1)", 2)
    end)
    assert.equal("23505", err.sqlstate)
    assert.equal(0, conn:value("SELECT count(*) FROM t"))
    err = fixture.error_of(conn.pipeline, conn, function(p)
      p:query("INSERT INTO t VALUES ($1)", 1)
      p:query("SELEC $1", 1)
    end)
    assert.equal("42601", err.sqlstate)
    assert.equal(0, conn:value("SELECT count(*) FROM t"))
  end)

  it("survives a pipeline larger than every buffer between", function()
    local results = conn:pipeline(function(p)
      for i = 1, 3000 do
        p:value("SELECT repeat($1, 10000)", ("x"):rep(1 + i % 3))
      end
    end)
    assert.equal(3000, #results)
    assert.equal(20000, #results[1])
  end)

  it("streams rows one by one and is free afterwards", function()
    local sum = 0
    for row in conn:rows("SELECT g AS n FROM generate_series(1, $1::int8) g", 100000) do
      sum = sum + row.n
    end
    assert.equal(5000050000, sum)
    for row in conn:rows("SELECT generate_series(1, 10) AS n") do
      if row.n == 2 then
        break
      end
    end
    assert.equal(1, conn:value("SELECT 1"))
  end)

  it("ends a stream when the connection is used otherwise", function()
    local rows = conn:rows("SELECT generate_series(1, 10) AS n")
    rows()
    assert.equal(1, conn:value("SELECT 1"))
    assert.truthy(fixture.error_of(rows).message:find("ended"))
    local failing = conn:rows("SELECT 1 / (3 - g) AS n FROM generate_series(1, 3) g")
    assert.same({ n = 0 }, failing())
    assert.same({ n = 1 }, failing())
    assert.equal("22012", fixture.error_of(failing).sqlstate)
    assert.equal(1, conn:value("SELECT 1"))
  end)

  it("runs a transaction again on a conflict and passes its results through", function()
    local interfere = conflict_once()
    local attempts = 0
    local sum, word = conn:transaction(function(c, attempt)
      attempts = attempt
      local amount = tonumber(c:value("SELECT sum(amount) FROM account"))
      if attempt == 1 then
        interfere()
      end
      c:query("INSERT INTO account VALUES ('sum', $1)", amount)
      return amount, "word", nil
    end)
    assert.same({ 31, "word", 2 }, { sum, word, attempts })
    assert.equal(31, conn:value("SELECT amount FROM account WHERE name = 'sum'"))
  end)

  it("runs it again even when the conflict was caught inside", function()
    local interfere = conflict_once()
    local runs = 0
    conn:transaction(function(c)
      runs = runs + 1
      local amount = c:value("SELECT sum(amount)::int8 FROM account")
      if runs == 1 then
        interfere()
      end
      pcall(c.query, c, "INSERT INTO account VALUES ('sum', $1)", amount)
      pcall(c.query, c, "SELECT 1")
    end)
    assert.equal(2, runs)
  end)

  it("gives up after so many attempts", function()
    local interfere = conflict_once()
    local runs = 0
    local err = fixture.error_of(conn.transaction, conn, function(c)
      runs = runs + 1
      c:value("SELECT sum(amount) FROM account")
      interfere()
      c:query("INSERT INTO account VALUES ('sum', $1)", 1)
    end, { attempts = 3 })
    assert.equal("conflict", err.code)
    assert.equal("40001", err.sqlstate)
    assert.equal(3, runs)
    assert.equal("idle", conn:state())
  end)

  it("rolls back on any error and raises it again", function()
    conn:run("CREATE TABLE t (n int8)")
    local thing = {}
    assert.equal(thing, fixture.error_of(conn.transaction, conn, function(c)
      c:query("INSERT INTO t VALUES (1)")
      error(thing)
    end))
    assert.equal("42601", fixture.error_of(conn.transaction, conn, function(c)
      c:query("INSERT INTO t VALUES (1)")
      pcall(c.query, c, "SELEC")
    end).sqlstate)
    assert.equal(0, conn:value("SELECT count(*) FROM t"))
    assert.equal("idle", conn:state())
  end)

  it("refuses a transaction in a transaction, and one that was ended inside", function()
    assert.truthy(fixture.error_of(conn.transaction, conn, function(c)
      c:transaction(function() end)
    end).message:find("one is open"))
    assert.truthy(fixture.error_of(conn.transaction, conn, function(c)
      c:run("COMMIT")
    end).message:find("ended"))
  end)

  it("is serializable by default and otherwise when asked", function()
    local level = "SELECT current_setting('transaction_isolation')"
    local function ask(c)
      return c:value(level)
    end
    assert.equal("serializable", conn:value(level))
    assert.equal("serializable", conn:transaction(ask))
    assert.equal("read committed", conn:transaction(ask, { isolation = "read committed" }))
    assert.equal("25006", fixture.error_of(conn.transaction, conn, function(c)
      c:run("CREATE TABLE t (n int8)")
    end, { read_only = true }).sqlstate)
  end)

  it("inserts many rows of every type by one statement", function()
    conn:run([[CREATE TYPE mood AS ENUM ('good', 'bad');
      CREATE TABLE t (n int8 PRIMARY KEY, name text, data bytea, tags text[], blobs bytea[], ok bool, x float8, m mood,
                      short varchar(3), j jsonb)]])
    local columns = { "n", "name", "data", "tags", "blobs", "ok", "x", "m", "short", "j" }
    local before = conn:round_trips()
    assert.equal(2, conn:insert("t", columns, {
      { 9007199254740993LL, "a", "\0\1", { "x", 'y,"\\' }, { "\0", '\\"' }, false, 0.1, "good", "abc", '{"a": 1}' },
      { n = 2, tags = {}, ok = true },
    }))
    assert(conn:round_trips() - before <= 4)
    local row = conn:one("SELECT * FROM t WHERE n > 2")
    assert.equal("9007199254740993LL", tostring(row.n))
    assert.same({ "a", "\0\1", { "x", 'y,"\\' }, { "\0", '\\"' }, false, 0.1, "good", "abc", '{"a": 1}' },
      { row.name, row.data, row.tags, row.blobs, row.ok, row.x, row.m, row.short, row.j })
    assert.same({ n = 2, tags = {}, ok = true }, conn:one("SELECT * FROM t WHERE n = 2"))
    assert.equal(1, conn:insert("t", { "n" }, { { 2 }, { 3 } }, { skip_duplicates = true }))
    assert.equal("23505", fixture.error_of(conn.insert, conn, "t", { "n" }, { { 2 } }).sqlstate)
    assert.equal("22001", fixture.error_of(conn.insert, conn, "t", { "n", "short" }, { { 9, "abcd" } }).sqlstate)
    assert.equal(0, conn:insert("t", { "n" }, {}))
  end)

  it("checks the names it splices, and sees new columns", function()
    conn:run('CREATE TABLE t (n int8); CREATE TABLE "Upper" (n int8)')
    assert.has_error(function() conn:insert("t; DROP TABLE t", { "n" }, { { 1 } }) end)
    assert.has_error(function() conn:insert("t", { 'n") VALUES (1); --' }, { { 1 } }) end)
    assert.truthy(fixture.error_of(conn.insert, conn, "t", { "m" }, { { 1 } }).message:find("no column m"))
    assert.truthy(fixture.error_of(conn.insert, conn, "nowhere", { "m" }, { { 1 } }).message:find("no table"))
    conn:run("ALTER TABLE t ADD m int8")
    assert.equal(1, conn:insert(schema.name .. ".t", { "n", "m" }, { { 1, 2 } }))
    assert.equal(1, conn:insert("Upper", { "n" }, { { 1 } }))
    assert.equal('"a""b"', db.quote('a"b'))
  end)

  it("says that a connection is lost, and stays lost", function()
    local other = schema.connect()
    other:query("SELECT pg_terminate_backend($1)", conn:value("SELECT pg_backend_pid()"))
    local err = fixture.error_of(conn.query, conn, "SELECT 1")
    assert.equal("lost", err.code)
    assert.is_nil(err.message:find("\n"))
    assert.equal("lost", fixture.error_of(conn.query, conn, "SELECT $1::int8", 1).code)
    assert.equal("lost", fixture.error_of(conn.transaction, conn, function() end).code)
    assert.equal("closed", conn:state())
  end)

  it("loses the connection inside a transaction and a pipeline without losing its head", function()
    local other = schema.connect()
    local kill = "SELECT pg_terminate_backend($1)"
    assert.equal("lost", fixture.error_of(conn.transaction, conn, function(c)
      other:query(kill, c:value("SELECT pg_backend_pid()"))
      c:query("SELECT 1")
    end).code)
    local third = schema.connect()
    other:query(kill, third:value("SELECT pg_backend_pid()"))
    assert.equal("lost", fixture.error_of(third.pipeline, third, function(p)
      p:query("SELECT 1")
      p:query("SELECT $1::int8", 1)
    end).code)
    assert.equal("closed", third:state())
  end)

  it("refuses COPY, which nobody would feed", function()
    local third = schema.connect()
    third:run("CREATE TABLE t (n int8)")
    assert.equal("input", fixture.error_of(third.query, third, "COPY t FROM STDIN").code)
    assert.equal("closed", third:state())
  end)

  it("says what cannot be reached without the password", function()
    local err = fixture.error_of(db.connect, "postgresql://me:secret@127.0.0.1:1/x")
    assert.equal("lost", err.code)
    assert.is_nil(err.message:find("secret", 1, true))
  end)
end)
