--- Somebody and one of those who came before. Found by the lifecycles.
return { fields = { { "elder", "text" }, { "younger", "text" } } }
