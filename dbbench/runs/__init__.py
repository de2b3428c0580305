"""The files of a run: where they lie (`places`) and where their numbers come from (`provenance`)."""
