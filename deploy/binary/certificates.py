"""Runs first in the one file: where the machine keeps its certificates of authorities.

OpenSSL looks where the machine that built it has them, and systems differ. ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` go
before all of it; where nothing is found, it is the list that was built in.
"""

import os
import sys
from _ssl import get_default_verify_paths  # ``ssl`` itself would cost every command 10 ms

KNOWN = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # Alpine, BSD
)
BUILT_IN = os.path.join(getattr(sys, "_MEIPASS", ""), "certifi", "cacert.pem")


def variables(file_variable, default_file, folder_variable, default_folder, given=os.environ, known=KNOWN):
    """What the environment must have for OpenSSL to find a list."""
    if file_variable in given or folder_variable in given:
        return {}
    if os.path.exists(default_file) or os.path.isdir(default_folder):
        return {}
    return {file_variable: next(filter(os.path.exists, known), BUILT_IN)}


os.environ.update(variables(*get_default_verify_paths()))
