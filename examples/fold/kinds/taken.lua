--- A title that POST /add has taken, and for which text. Of two texts the first stays.
return { fields = { { "title", "text" }, { "digest", "text" } }, unique = { "title" } }
