--- Samples of what is in the database: real facts, with their friends.
local check = ...

local text = require("accrete.text")

local function raw_uuid(value)
  return text.unhex((value:gsub("-", "")))
end

local function from_sql(field, value)
  if value == nil or field.type ~= "uuid" then
    return value
  elseif not field.is_array then
    return raw_uuid(value)
  end
  local list = {}
  for i, one in ipairs(value) do
    list[i] = raw_uuid(one)
  end
  return list
end

local function columns_of(kind, db)
  local columns = {}
  for i, field in ipairs(kind.fields) do
    columns[i] = db.quote(field.name)
  end
  return table.concat(columns, ", ")
end

local function facts_of(kind, rows)
  local list = {}
  for i, row in ipairs(rows) do
    local values = {}
    for _, field in ipairs(kind.fields) do
      values[field.name] = from_sql(field, row[field.name])
    end
    list[i] = check.make_fact(kind, values)
    list[i].id = raw_uuid(row._id)
  end
  return list
end

local sql_types = { bytes = "bytea", json = "text" }

--- Look-ups in the database, at most check.FRIENDS_MAX facts each: any part of the friends is a sample.
local function source_of(db)
  return function(kind, conditions)
    local parts, values = {}, {}
    for i, c in ipairs(conditions) do
      local list = {}
      for k, one in ipairs(c.list) do
        list[k] = c.field.type == "uuid" and type(one) == "string" and text.hex(one) or one
      end
      local sql_type = sql_types[c.field.type] or c.field.type
      local name = db.quote(c.field.name)
      values[i] = list
      if c.has then
        parts[i] = ("%s && $%d::%s[]"):format(name, i, sql_type)
      elseif c.field.is_array then
        values[i] = list[1]
        parts[i] = ("%s = $%d::%s[]"):format(name, i, sql_type)
      else
        parts[i] = ("%s = ANY($%d::%s[])"):format(name, i, sql_type)
      end
    end
    return facts_of(kind, db.query(("SELECT _id, %s FROM %s%s%s LIMIT %d"):format(columns_of(kind, db),
      db.quote("fact_" .. kind.name), #parts > 0 and " WHERE " or "", table.concat(parts, " AND "), check.FRIENDS_MAX),
      unpack(values)))
  end
end

--- The real facts that were probed, for check.grow.
check.real_facts = {}

--- Probes up to host.facts real facts, from a place that is drawn.
function check.sample_facts(lifecycle)
  local db = require("accrete.db")
  local kind = check.kinds[lifecycle.on]
  local table_name = db.quote("fact_" .. kind.name)
  if db.value("SELECT to_regclass($1::text)::text", table_name) == nil then
    return -- nothing of the kind has come yet
  end
  local start = ("%04x%04x-0000-0000-0000-000000000000"):format(check.draw(65536) - 1, 0)
  local sql = ("(SELECT _id, %s FROM %s WHERE _id >= $1::uuid ORDER BY _id LIMIT %d) UNION ALL "
    .. "(SELECT _id, %s FROM %s WHERE _id < $1::uuid ORDER BY _id LIMIT %d) LIMIT %d"):format(columns_of(kind, db),
    table_name, check.host.facts, columns_of(kind, db), table_name, check.host.facts, check.host.facts)
  local ok, rows = pcall(db.query, sql, start)
  if not ok then
    check.problem("error", "real", "kinds/" .. kind.name .. ".lua", 1, "the database has it otherwise: "
      .. rows.message, "accrete schema plan says what differs, and the way out")
    return
  end
  for _, fact in ipairs(facts_of(kind, rows)) do
    table.insert(check.real_facts, fact)
    local run = check.run(lifecycle, fact, source_of(db))
    if run.outcome == "done" or run.outcome == "late" or run.outcome == "early" then
      check.sampled[lifecycle.name].facts = check.sampled[lifecycle.name].facts + 1
      if run.friends then
        check.probe(lifecycle, fact, run.friends, run)
      end
    end
    check.forget_rows()
  end
end
