--- The app's own settings (`settings:` in its accrete.yaml): a plain table, every value a string.
return require("accrete.settings.c")
