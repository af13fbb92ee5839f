# SPDX-License-Identifier: Apache-2.0
projectorplugin_LTLIBRARIES += plugins/projector/identity/identity.la
plugins_projector_identity_identity_la_SOURCES = plugins/projector/identity/identity.c
plugins_projector_identity_identity_la_LDFLAGS = $(PLUGIN_LINK)
plugins_projector_identity_identity_la_LIBADD = $(PLUGIN_LIBS)
