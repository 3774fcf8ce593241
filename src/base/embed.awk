# Reads "size name" lines; writes the table of embed.h, the bytes of each file by .incbin.
BEGIN { print "#include \"base/embed.h\"" }
$2 != "total" {
  n++
  size[n] = $1
  name[n] = $2
  printf "__asm__(\".section .rodata\\nembed_%d:\\n.incbin \\\"%s\\\"\\n.byte 0\\n.previous\\n\");\n", n, $2
  printf "extern const char embed_%d[];\n", n
}
END {
  print "const struct embed_file embed_files[] = {"
  for (i = 1; i <= n; i++) printf "    {\"%s\", embed_%d, %d},\n", name[i], i, size[i]
  print "};\nconst size_t embed_file_count = sizeof embed_files / sizeof embed_files[0];"
}
