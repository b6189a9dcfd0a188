"""`pipeguard` with a tenth of the usual time limits, for tests that wait for its end."""

from pipeguard.__main__ import main
from pipeguard.transports.http.server import admission, connections

SHORTER = 10

if __name__ == "__main__":
    admission.BODY_SECONDS /= SHORTER
    vars(connections)["HEADER_SECONDS"] /= SHORTER
    main()
