// Shows our own document; nothing is asked of any other host.
"use strict";
SwaggerUIBundle({
  url: "../../openapi.json",
  dom_id: "#docs",
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  filter: true,
  validatorUrl: null,
});
