# SPDX-License-Identifier: Apache-2.0
# Data: what is installed under $(pkgdatadir), manual pages and completions.

dist_man_MANS += share/man/llavamore-bench.1 share/man/llavamore-quantize.1 share/man/llavamore-run.1 share/man/llavamore-inspect.1 share/man/llavamore.ini.5
bashcompletiondir = $(datadir)/bash-completion/completions
dist_bashcompletion_DATA = share/completions/llavamore-bench share/completions/llavamore-inspect share/completions/llavamore-quantize \
	share/completions/llavamore-run
EXTRA_DIST += share/man/keys.awk

include share/doc/local.mk
include share/layouts/local.mk
include share/presets/local.mk
include share/shapes/local.mk
include share/templates/local.mk
include share/tiny/local.mk
include share/images/local.mk

# The key tables of llavamore.ini(5) are those of the program.
update-man: core/cmd/llavamore-inspect/llavamore-inspect
	$(MKDIR_P) share/man
	core/cmd/llavamore-inspect/llavamore-inspect --keys | awk -f $(srcdir)/share/man/keys.awk >share/man/keys.roff
	awk 'FNR == NR { keys = keys $$0 "\n"; next } /^.." end of keys/ { inside = 0 } !inside { print } \
		/^.." begin of keys/ { inside = 1; printf "%s", keys }' share/man/keys.roff \
		$(srcdir)/share/man/llavamore.ini.5 >share/man/page.roff
	cp share/man/page.roff $(srcdir)/share/man/llavamore.ini.5
CLEANFILES += share/man/keys.roff share/man/page.roff
