"""Words in the names, first sentences and parameters of tools, by what they say a tool does.

Used by detect.flows.tool_labels. Names are split into words in small letters, so a word has neither
signs nor capitals; verbs of a description lose the ending of the third person first.
"""

from __future__ import annotations

from pipeguard.detect.words.notation import word_set

# -- what comes back -----------------------------------------------------------------------------

# Verbs: something comes back.
READ = word_set(
    "read get list search query export find show view open select dump lookup load cat look "
    "return retrieve give peek display browse tell print download inspect fetch check past "
    "history see grep pull access summary summarize gather collect"
)
# What is private without being about a person.
FILES = word_set(
    "file files folder repo repository disk code page pages record records row rows table "
    "tables event events history session login user users member members client clients people "
    "photo photos location account accounts"
)
# What its owner would show to nobody.
PERSONAL = word_set(
    "mail mails email emails inbox mailbox message messages thread threads database db customer "
    "customers contact contacts crm calendar agenda appointment appointments drive document "
    "documents clipboard note notes patient patients payroll invoice invoices employee "
    "employees staff hr memory memories private personal confidential internal chat chats "
    "conversation conversations salary salaries medical health company diary bank transactions "
    "contract contracts profile subscriber subscribers lead leads payslip payslips wage wages "
    "pension pupil pupils student students citizen citizens resident residents claim claims "
    "insurance policyholder tax taxes loan loans mortgage ledger accounting erp candidate "
    "candidates applicant applicants resume resumes clinic clinical diagnosis prescription "
    "prescriptions lab laboratory therapy sleep passport visa minutes legal lawyer lawyers "
    "court deal deals negotiation restricted classified sensitive proprietary closed intranet "
    "board directors incident incidents guest guests donor donors whereabouts position dossier "
    "grades bookings reservations prospects home household family child children sensor sensors "
    "camera cameras"
)
# Only together: either word alone is no list of people.
ADDRESS_BOOK = word_set("address book")
# What is not for everybody, whatever it is; also beyond the first sentence.
RESTRICTED = word_set(
    "private personal confidential internal restricted classified sensitive proprietary closed "
    "intranet secret privileged sealed"
)
# What is read here, anybody may read.
PUBLISHED = word_set(
    "web url website browser internet online scrape crawl rss feed http https release changelog "
    "public docs documentation library news product products readme license licence"
)
# But these, where they are somebody's own, say where that person has been.
TRACES = word_set("history bookmarks cookies downloads")
# What keeps secrets, and is given some to keep.
SECRET_STORES = word_set(
    "secret secrets vault keychain keyring credential credentials password passwords kv passphrase"
)
SECRETS = SECRET_STORES | word_set("env environment token tokens dotenv variables")

# -- what third parties may have written ---------------------------------------------------------

WEB = word_set(
    "fetch browse scrape crawl web url page website browser rss feed internet online article site"
)
NETWORK = word_set("dns resolve nslookup dig ping whois lookup http https request curl image link")
OTHERS = word_set(
    "issue issues comment comments review reviews ticket tickets pull inbox mail email support "
    "event events calendar invitation invitations attachment attachments pdf ocr transcript "
    "captions video news forum post posts article wiki buyers visitors guests podcast blog "
    "reddit feed rss customers wrote written public message messages mailbox"
)

# -- what goes out -------------------------------------------------------------------------------

# Verbs: whatever they have for an object is sent.
SEND = word_set(
    "send post publish upload share submit forward push broadcast dispatch deliver transmit "
    "relay notify announce trigger reply tweet toot mention invite emit"
)
# What a tool sends that is called by nothing else.
SENT = word_set(
    "webhook comment email mail message text sms dm pastebin paste gist snippet slack discord "
    "telegram tweet toot fax status channel"
)
SENT_OR_IN_A_FILE = word_set("text status")
# What is made where others read it, and the verbs that make it.
POSTED = word_set("issue pull pr comment discussion release review page wiki")
MAKE = word_set("create open add new make write edit update")
# Verbs that put in order what is there.
ARRANGE = word_set("mark move archive label draft count star flag sort")
# To ask these is to send: a resolver passes on any name.
RESOLVERS = word_set("dns resolve nslookup dig ping whois curl")
PUBLIC = word_set(
    "public everyone everybody anybody anyone world any external outside outsiders paste "
    "pastebin gist snippet tweet toot twitter mastodon blog microblog social host site web url "
    "webhook endpoint http internet partner partners strangers online third vendor vendors "
    "competitor competitors press organisations organizations"
)
# In the description, these say that it sends.
PUBLISH = word_set(
    "publish publishes sends uploads posts submits shares anyone anybody everybody everyone"
)
# In the description, these say that something is kept elsewhere, or goes there by itself.
HOSTED = word_set(
    "github gitlab bitbucket gitea aws gcs azure bucket buckets vercel netlify cloudflare "
    "heroku supabase firebase firestore airtable notion confluence jira linear trello asana "
    "todoist slack discord telegram gmail google microsoft outlook dropbox onedrive icloud "
    "gdrive sharepoint salesforce hubspot zendesk figma zapier openai anthropic gpt "
    "huggingface bedrock cdn ftp sftp scp ssh rsync smb nfs webdav imap smtp tunnel tunnels "
    "ngrok upstream origin api"
)
CARRIES = word_set(
    "sync syncs synchronize synchronizes synchronise synchronises replicate replicates mirror "
    "mirrors deploy deploys backup backups serve serves expose exposes airdrop telemetry"
)
# What is reported to a remote place is sent there.
REPORT = word_set("log report record")
REMOTE = word_set("remote hosted external outside cloud online third vendor elsewhere")

# -- what is done --------------------------------------------------------------------------------

RUN = word_set(
    "run exec execute shell eval evaluate bash terminal command cmd script powershell python "
    "repl console interpreter"
)
# What later sessions read or obey.
KEEP = word_set(
    "remember memory memorize cron schedule crontab persist keep learn job jobs rule rules hook "
    "hooks preference preferences"
)
WRITE = word_set(
    "write save add create store append set update put edit keep schedule insert replace"
)
# What cannot be taken back.
UNDO = word_set(
    "delete remove drop erase wipe purge destroy transfer pay payment revoke merge deploy "
    "cancel close reset terminate refund grant withdraw purchase"
)
CHANGE = word_set(
    "set change update configure toggle disable enable edit modify put switch attach apply "
    "assign bind install register order buy subscribe unlock lock arm disarm start stop "
    "restart"
)
# Safeguards: what a person is asked, and what is recorded.
GUARDED = word_set(
    "policy policies setting settings permission permissions approval approve audit logging "
    "confirm confirmation confirmations sandbox guard firewall safety security config "
    "configuration"
)

# -- parameters ----------------------------------------------------------------------------------

RECIPIENT = word_set(
    "to recipient recipients guests attendees participants invitees email site url endpoint "
    "webhook channel bcc cc host destination address number phone room receiver target callback "
    "remote"
)
BODY = word_set(
    "body content text message data payload file attachment attachments json html query fields "
    "status caption note comment description remark rows values"
)
# Beside these, a noun of SENT is what is sent.
GIVEN = word_set("files title subject description line lines")
CODE = word_set("command cmd code script shell sql statement manifest")
# These go out with a request.
REQUESTED = word_set("url uri host hostname domain query endpoint address src link href site q")
PATHS = word_set("path file filename filepath")
# Who may choose these chooses where it goes.
ADDRESS = word_set("url uri endpoint webhook src href link host hostname domain broker")
