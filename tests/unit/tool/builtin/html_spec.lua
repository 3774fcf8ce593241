local clock = require "perilune.sys.clock"
local html = require "perilune.tool.builtin.html"


local function text_of(page)
  return (html.to_text(page))
end


describe("a page as text", function()
  it("keeps what people read", function()
    local text, left_out = html.to_text([[
      <!DOCTYPE html><html><head><title>The  page</title><style>p { color: red }</style>
      <script>if (a < b && c > d) { document.write("<p>no</p>") }</script></head>
      <body><!-- a <b>comment</b> --><h1>Head<em>ing</em></h1><p>One &amp; two,
      <b>bold</b> and <a href="/more?a=1&amp;b=2">a link</a>.</p><ul><li>first<li>second <img src=x alt="a cat"></ul>
      <table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table>
      <pre>if x then
    return
end</pre></body></html>]])
    assert.equal([[
The page

# Heading

One & two, bold and [a link](/more?a=1&b=2).

- first
- second (image: a cat)
| a | b
| 1 | 2

if x then
    return
end]], text)
    assert.equal("script, style, 1 image", left_out)
  end)

  it("says nothing was left out when nothing was", function()
    local text, left_out = html.to_text("<p>one</p><p>two<br>three</p>")
    assert.equal("one\n\ntwo\nthree", text)
    assert.is_nil(left_out)
  end)

  it("decodes entities, and leaves alone what is none", function()
    for given, expected in pairs {
      ["&lt;b&gt; &quot;x&quot; &#65;&#x42;&#X43;"] = '<b> "x" ABC', ["&nosuch; & &; &#; &#x; AT&T"] = "&nosuch; & &; &#; &#x; AT&T",
      ["&#0;&#xD800;&#99999999;&#999999999999;"] = ("\u{FFFD}"):rep(4), ["&euro;&mdash;&auml;"] = "€—ä", ["&amp;lt;"] = "&lt;",
      ["&#128512;"] = "😀",
    } do
      assert.equal(expected, text_of(given))
    end
  end)

  it("is not confused by quotes, comments and half a tag", function()
    for given, expected in pairs {
      ["<a href='x' title=\"a > b\">t</a>"] = "[t](x)", ["a < b and c > d"] = "a < b and c > d", ["a <3 b"] = "a <3 b", ["text<"] = "text<",
      ["text<p"] = "text", ["one<!-- never closed <p>two"] = "one", ["one<!---->two"] = "onetwo", ["one<script>never closed"] = "one",
      ["<SCRIPT>x</SCRIPT >y"] = "y", ["<p title=\"never closed>text</p>"] = "text", ["<?xml version=\"1.0\"?>x"] = "x",
      ["</p></a></div>x"] = "x",
      ["<a href=x>one<a href=y>two</a></a>"] = "[onetwo](x)", ["<a href=x>open"] = "[open](x)", ["<a name=x>t</a>"] = "t",
      ["<a href=\"javascript:alert(1)\">t</a>"] = "t", ["<a href=\"#top\">t</a>"] = "t", ["<b><i>x</b></i>"] = "x",
      ["<noscript>a</noscript><svg><text>b</text></svg>c"] = "c", ["\0\1x"] = "x", ["<ul><li><p>one</p><li><p>two</ul>"] = "- one\n\n- two",
      ["<div><div>a</div></div><div>b<br>c<br><br>d</div>"] = "a\nb\nc\n\nd", ["<pre>a\tb  c</pre>"] = "a    b  c",
      ["<customelement>x"] = "x",
    } do
      assert.equal(expected, text_of(given), given)
    end
  end)

  it("takes time in proportion to the page, whatever is in it", function()
    local size = 400000
    local started = clock.mono()
    for _, part in ipairs { "<", "<a", "<a '", "<a \"'", "<!--", "<script>", "</script", "&", "&a", "&#", "<p>", "<a href=",
      "<a href='x", "<pre>", " ", "\n \n", "<img alt=",
      "<td>", "- \n", "<textarea>", "<!", "</", "<a b=\"c\" " } do
      html.to_text(part:rep(size // #part))
    end
    assert.is_true(clock.mono() - started < 20)
  end)

  it("survives any bytes", function()
    local parts = { "<", ">", "</", "a", "p", " href=", '"', "'", "<!--", "-->", "<script>", "</script>", "<pre>", "</pre>", "&", ";",
      "#x41", "\0", "\1", "\255", "\n", " ", "<li>", "<img alt=" }
    local seed = 1
    for _ = 1, 5000 do
      local page = {}
      for i = 1, 30 do
        seed = (seed * 1103515245 + 12345) % 2147483648
        page[i] = parts[(seed >> 8) % #parts + 1]
      end
      local text = html.to_text(table.concat(page))
      assert.is_nil(text:find("[\0\1]"))
    end
  end)
end)
