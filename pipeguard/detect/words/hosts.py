"""Names, ports and paths by which an address reaches this machine, its network, or a console.

Used by detect.checks.addresses and detect.checks.url_hosts. Names are expressions, matched against
a whole host in small letters; a domain's name stands for all below it too.
"""

from __future__ import annotations

from pipeguard.detect.words.notation import word_list, word_set

# -- hosts ---------------------------------------------------------------------------------------

# They give out the machine's own credentials: AWS (also ECS and EKS), Tencent, Alibaba, Azure,
# Oracle; or they are next to such an address.
METADATA_ADDRESSES = word_set(
    "169.254.169.254 169.254.170.2 169.254.170.23 169.254.169.253 169.254.169.249 169.254.0.23 "
    "100.100.100.200 168.63.129.16 192.0.0.192"
)
METADATA_ADDRESSES_V6 = word_set("fd00:ec2::254 fd00:ec2::23")
METADATA_NAMES = (
    *(r"metadata\.google\.internal", r"metadata\.goog"),
    r"metadata\.(?:azure|platformequinix|packet|tencentyun|nifcloud)\.(?:internal|com|net)",
    *(r"instance-data(?:\.ec2\.internal)?", r"metadata\.ec2\.internal", "metadata"),
)
LOCAL_NAMES = (
    "localhost",
    r"localhost\.localdomain",
    "ip6-localhost",
    "ip6-loopback",
    "localhost6",
)
# Names in the public system that answer with this machine's own address.
LOCAL_PUBLIC_NAMES = (
    *(r"localtest\.me", r"lvh\.me", r"vcap\.me", r"lacolhost\.com", r"localho\.st"),
    *(r"yoogle\.com", r"local\.sisteminha\.com", r"127-0-0-1\.org\.uk", r"feacluster\.com"),
    r"spoofed\.burpcollaborator\.net",
)
# Of private networks and clusters.
INSIDE_NAMES = (
    *("internal", "intranet", "corp", "lan", r"home\.arpa", "local", "localdomain"),
    *(r"cluster\.local", "consul", "private", "svc"),
)
# The same, which have nothing below them.
INSIDE_HOSTS = (r"kubernetes(?:\.default(?:\.svc)?)?", r"gateway\.docker\.internal")
# Services that answer a name with the address that is written in it.
WILDCARD_DNS = (
    *(r"(?:nip|sslip|xip)\.io", r"rbndr\.us", r"1u\.ms", r"traefik\.me", r"ip\.dns\.army"),
    *(r"backname\.io", r"nip\.direct", r"vcap\.me", r"ipq\.co", r"getlantern\.org", r"lvh\.me"),
    *(r"plex\.direct", r"dns\.name"),
)

# -- by which machines, clusters and stores are administered or read -----------------------------

PORTS = word_list(
    "22 23 25 111 135 139 389 445 873 1099 1433 1521 2049 2181 2375 2376 2377 2379 2380 3306 3389 "
    "4040 4194 4243 5432 5555 5601 5672 5900 5984 5985 6066 6379 6443 7001 7077 7474 8020 8086 "
    "8088 8161 8200 8300 8500 8501 8649 8983 9000 9001 9042 9090 9091 9092 9200 9229 9300 9411 "
    "9418 10250 10255 10256 10257 10259 11211 15672 16379 16443 26379 27017 27018 50000 50070 61616"
)
PATHS = (
    *("admin", "administrator", "manage(?:ment|r)?", "actuator", "internal", "private", "secrets?"),
    *("credentials?", "token", "env", "config(?:uration)?", "cgi-bin", "console", "jenkins"),
    *("scripttext", "metrics", "debug", "heapdump", "jolokia", "server-status", "server-info"),
    *("phpmyadmin", "wp-admin", "api/v1/(?:secrets|pods|namespaces|nodes)"),
    *("v1/(?:kv|secret|sys|agent|catalog|data|metadata)", r"v1\.\d{2}", "containers"),
    *("images/json", "_cat", "_cluster", "_search", "_all_dbs", "_nodes", "solr", "druid", "minio"),
    *("backup", "users?", "accounts?", "passwd", "shadow", "keys?", "setup", "reset", "restart"),
    *("reboot", "shutdown", "exec", "shell", "cmd", "run", "eval", "upload", "delete", "flush"),
    *("login", r"\.git", r"\.env", r"\.svn", "var/run", "etc/passwd", "computemetadata"),
    "latest/(?:meta-data|user-data|dynamic)",
)
# On the developer's own machine far less is out of the ordinary.
LOCAL_PORTS = word_list(
    "22 25 111 139 445 873 2375 2376 2379 4194 6379 10250 10255 11211 16379 26379"
)
LOCAL_PATHS = (
    *("server-status", "actuator/(?:env|heapdump)", "jolokia", "containers/json", "_cat/"),
    *("v1/(?:kv|secret|agent)/", "scripttext", "latest/meta-data"),
)
