"""nginx configurations, and whether nginx takes them: what it says of each is compared with what we say."""

from __future__ import annotations

MAIN = "events {}\nhttp {\n%s\n}\n"
SERVER = MAIN % "  server {\n    listen 127.0.0.1:18999;\n%s\n  }"
LOCATION = SERVER % "    location / {\n%s\n    }"
PASS = "      proxy_pass http://127.0.0.1:11434;\n"

GOOD = {
    "the least": MAIN % "",
    "a location": LOCATION % PASS,
    "streaming done right": LOCATION % (
        PASS + "      proxy_buffering off;\n      proxy_read_timeout 10m;\n      client_max_body_size 50m;\n"
        "      proxy_http_version 1.1;\n      proxy_set_header Connection \"\";"),
    "a zone in http": MAIN % "  limit_req_zone $binary_remote_addr zone=llm:10m rate=5r/s;\n  server { location / { "
                             "limit_req zone=llm burst=10 nodelay; proxy_pass http://127.0.0.1:8000; } }",
    "an upstream": MAIN % "  upstream vllm { server 127.0.0.1:8000 max_fails=3; server 127.0.0.1:8001 backup; "
                          "keepalive 8; }\n  server { location /v1/ { proxy_pass http://vllm; } }",
    "a map with any words": MAIN % "  map $http_upgrade $connection_upgrade { default upgrade; '' close; }",
    "types": MAIN % "  types { text/html html; application/json json; }",
    "an if": SERVER % "    if ($host = x.example) { return 301 https://x.example$request_uri; }\n"
                      "    location / { if ($request_method = OPTIONS) { return 204; } }",
    "a regular expression in quotes": SERVER % "    location ~ \"^/v[0-9]{1,2}/\" { return 200; }",
    "two equal regular expressions": SERVER % "    location ~ ^/a { return 200; }\n    location ~ ^/a { return 201; }",
    "exact and prefix of one path": SERVER % "    location = /a { return 200; }\n    location /a { return 201; }",
    "nested locations": SERVER % "    location /a { location /a/b { return 200; } }",
    "limit_except": LOCATION % "      limit_except GET { deny all; }",
    "a comment with braces": LOCATION % "      # } { ;\n      return 200 \"a } { ; b\";",
    "variables in braces": LOCATION % "      return 200 ${scheme}x;",
    "escapes": LOCATION % "      return 200 a\\ b\\;c;",
    "a quote of many lines": LOCATION % "      return 200 'one\ntwo\nthree';",
    "no line ends": "events{}http{server{listen 127.0.0.1:18999;location /{return 200;}}}",
    "times and sizes": LOCATION % (
        PASS + "      proxy_read_timeout 1h30m; client_max_body_size 0;\n      send_timeout 500ms;"),
    "a log format of many lines": MAIN % "  log_format main '$remote_addr - $request '\n    '$status';",
    "inherited from http": MAIN % "  proxy_buffering off; proxy_read_timeout 300s; client_max_body_size 8M;\n"
                                  "  server { location / { proxy_pass http://127.0.0.1:11434; } }",
    "a variable as target": LOCATION % "      set $engine 127.0.0.1:8000; proxy_pass http://$engine;",
    "error pages": SERVER % "    error_page 502 504 /down.html; location = /down.html { internal; root /tmp; }",
}

#: name -> configuration and the line that nginx names.
BAD = {
    "a zone in server": (SERVER % "    limit_req_zone $binary_remote_addr zone=llm:10m rate=5r/s;", 5),
    "a zone in location": (LOCATION % "      limit_req_zone $binary_remote_addr zone=llm:10m rate=5r/s;", 6),
    "a zone outside http": ("limit_req_zone $binary_remote_addr zone=llm:10m rate=5r/s;\nevents {}\n", 1),
    "a zone that nobody declares": (LOCATION % "      limit_req zone=llm burst=10;", None),
    "no semicolon": (LOCATION % "      proxy_buffering off\n      proxy_read_timeout 600s;", 7),
    "no semicolon before a brace": (LOCATION % "      proxy_buffering off", 7),
    "no semicolon before a block": (SERVER % "    client_max_body_size 50m\n    location / { return 200; }", 6),
    "a misspelt directive": (LOCATION % "      proxy_bufering off;", 6),
    "another": (LOCATION % "      proxy_read_timout 600s;", 6),
    "a brace too few": ("events {}\nhttp {\n  server {\n    location / {\n      return 200;\n    }\n  }\n", None),
    "a brace too many": (MAIN % "" + "}\n", 5),
    "a location twice": (SERVER % "    location /v1/ { return 200; }\n    location /v1/ { return 201; }", 6),
    "a prefix twice, one of them final": (
        SERVER % "    location /a { return 200; }\n    location ^~ /a { return 201; }", 6),
    "a setting twice": (LOCATION % "      proxy_buffering off;\n      proxy_buffering on;", 7),
    "neither on nor off": (LOCATION % "      proxy_buffering false;", 6),
    "a time that is none": (LOCATION % "      proxy_read_timeout forever;", 6),
    "a size that is none": (LOCATION % "      client_max_body_size 50MB;", 6),
    "proxy_pass in server": (SERVER % "    proxy_pass http://127.0.0.1:8000;", 5),
    "proxy_pass without http": (LOCATION % "      proxy_pass 127.0.0.1:8000;", 6),
    "a location in http": (MAIN % "  location / { return 200; }", 3),
    "a server outside http": ("events {}\nserver { listen 127.0.0.1:18999; }\n", 2),
    "an upstream in server": (SERVER % "    upstream x { server 127.0.0.1:8000; }", 5),
    "a value too many": (LOCATION % "      proxy_set_header Host $host $port;", 6),
    "no value": (LOCATION % "      proxy_read_timeout;", 6),
    "a header before its semicolon": (LOCATION % "      proxy_set_header Host $host\n      proxy_buffering off;", 7),
    "a quote that stays open": (LOCATION % "      return 200 \"never closed;", None),
    "a wrong modifier": (SERVER % "    location ~= /a { return 200; }", 5),
    "a file that is not there": (MAIN % "  include /nowhere/at/all.conf;", 3),
    "worker_connections outside events": ("worker_connections 1024;\nevents {}\n", 1),
    "a block without braces": (SERVER % "    location /;", 5),
    "listen in location": (LOCATION % "      listen 127.0.0.1:18998;", 6),
    "server_name in http": (MAIN % "  server_name x.example;", 3),
}
