return {
  fields = { { "at", "int8" }, { "source", "text" }, { "name", "text" }, { "weight", "float8" }, { "note", "text" } },
  unique = { "at", "source", "name" },
}
