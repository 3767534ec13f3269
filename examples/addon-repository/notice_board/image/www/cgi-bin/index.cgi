#!/bin/sh
# The board: httpd runs this for "/", since there is no index.html.

escape() { sed 's/&/\&amp;/g; s/</\&lt;/g; s/>/\&gt;/g; s/"/\&quot;/g'; }

title=$(option title | escape)
case $(option colour) in
    blue) note='#cfe3f7' ;;
    green) note='#d6efd2' ;;
    grey) note='#e4e4e2' ;;
    *) note='#fbe7a8' ;;
esac

cat <<PAGE
Content-Type: text/html; charset=utf-8
Cache-Control: no-store

<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
  body { margin: 0 auto; max-width: 60rem; padding: 2rem; font: 1rem/1.5 system-ui, sans-serif; color: #333; background: #f6f4ef }
  ul { display: grid; grid-template-columns: repeat(auto-fill, minmax(14rem, 1fr)); gap: 1.2rem; padding: 0; list-style: none }
  li { padding: 1.2rem; min-height: 5rem; background: $note; border-radius: .3rem; box-shadow: 0 .1rem .4rem #0002 }
  footer { margin-top: 2.5rem; font-size: .85rem; color: #777 }
  footer b { font-weight: 600 }
</style>
<h1>$title</h1>
<ul>
$(option notices | escape | sed 's/.*/  <li>&/')
</ul>
PAGE

[ "$(option show_details)" = true ] || exit 0

echo '<footer>'
if supervisor /addons/self/info >/tmp/page.$$ 2>/dev/null; then
    json-lines </tmp/page.$$ | escape | awk -F '\t' '
        $1 == "data.name" || $1 == "data.version" || $1 == "data.state" || $1 == "data.ip_address" {
            printf "%s<b>%s</b> %s", (shown++ ? " · " : ""), substr($1, 6), $2
        }'
else
    echo 'The supervisor does not answer.'
fi
rm -f /tmp/page.$$
echo '</footer>'
