--- The database by itself: accrete lua examples/tools/db.lua [URL]
--- Shows a transaction that is retried, a batch insert, a pipeline, prepared queries and rows read one by one.
--- Without a URL it uses the database of the app it runs in. It leaves nothing behind: its tables are temporary.
local db = require("accrete.db")

local conn = db.connect(arg[1])

conn:run([[
  CREATE TEMPORARY TABLE city (name text PRIMARY KEY, country text NOT NULL, people int8 NOT NULL);
  CREATE TEMPORARY TABLE move (from_city text, to_city text, people int8)]])

-- Many rows, one statement, one round trip. A row is a list or a table of named values.
local cities = {
  { "Berlin", "Germany", 3755251 },
  { "Hamburg", "Germany", 1892122 },
  { name = "Lisbon", country = "Portugal", people = 545796 },
}
for i = 1, 10000 do
  cities[#cities + 1] = { "Village " .. i, "Elsewhere", i }
end
print(conn:insert("city", { "name", "country", "people" }, cities) .. " cities inserted")

-- Parameters are never spliced: this is a name like any other.
conn:query("INSERT INTO city VALUES ($1, $2, $3)", "'; DROP TABLE city; --", "Elsewhere", 1)

-- A SERIALIZABLE transaction. When it meets another one that changes the same the function simply runs again, so that
-- it behaves as if it were alone: nothing in it may matter that a rollback does not undo.
local function move(from, to, people)
  return conn:transaction(function(c, attempt)
    local left = c:value("SELECT people FROM city WHERE name = $1", from)
    if not left or left < people then
      return false
    end
    c:query("UPDATE city SET people = people - $2 WHERE name = $1", from, people)
    c:query("UPDATE city SET people = people + $2 WHERE name = $1", to, people)
    c:query("INSERT INTO move VALUES ($1, $2, $3)", from, to, people)
    return true, attempt
  end)
end
print("moved 1,000 from Berlin to Lisbon", move("Berlin", "Lisbon", 1000))
print("moved too many from Lisbon", move("Lisbon", "Berlin", 10 ^ 9))

-- Several questions, one round trip; results come in the order of the questions.
local results = conn:pipeline(function(p)
  p:value("SELECT count(*) FROM city")
  p:one("SELECT * FROM city WHERE name = $1", "Lisbon")
  p:query("SELECT country, sum(people)::int8 AS people FROM city GROUP BY country ORDER BY country")
end)
print(results[1] .. " cities; Lisbon has " .. results[2].people)
for _, row in ipairs(results[3]) do
  print("", row.country, row.people)
end

-- A statement that is used often. Its errors, if it had any, would show here.
local people_of = conn:prepare("SELECT people FROM city WHERE name = $1")
print("Village 7 and 8 have", people_of:value("Village 7"), people_of:value("Village 8"))

-- One row in memory at a time, however many there are.
local sum = 0
for row in conn:rows("SELECT people FROM city WHERE country = $1", "Elsewhere") do
  sum = sum + row.people
end
print("elsewhere live", sum)

-- Errors say what, where and, when the database spoke, its SQLSTATE.
local ok, err = pcall(conn.query, conn, "SELECT nothing FROM city")
print(ok, err.code, err.sqlstate, tostring(err))

-- Integers are exact: beyond 2^53 they are int64 cdata.
print("2^53 + 1 =", conn:value("SELECT 9007199254740993::int8"))
