"""Where heads are kept outside of the database.

settings    the file that says where (`WAYPOST_AUDIT_ANCHORS_FILE`)
keeping     the actor: brings each anchor up to the newest head, tries again, shows how far behind it is
files       a file
git         a git repository, pushed
objects     an object store that speaks S3
webhook     a signed request
"""

__all__: list[str] = []
