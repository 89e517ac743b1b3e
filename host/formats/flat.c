#include "formats/ndjson.h"
