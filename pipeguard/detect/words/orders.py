"""Words of orders to a model: those that could do something, and those that change its talk."""

from __future__ import annotations

from pipeguard.detect.words.notation import word_list, word_set

# For what an agent does with its tools, and what it does it to; `*` stands for any ending. English,
# German, French, Spanish.
ACTING = word_list(
    "send* sent forward* post* upload* mail* email* transfer* wire* pay paid payment* buy run* "
    "exec* eval* invok* call* curl wget bash sh delet* remov* leak* exfiltrat* shar* kill* shut* "
    "restart* reset* revert* rotat* revok* invit* eras* drop* wip* rm destroy* overwrit* commit* "
    "push* merg* publish* deploy* install* download* fetch* open opens opening visit* brows* "
    "click* navigat* read reads reading load* copy copies copied copying copia* save* saving "
    "store* storing edit* modif* chang* disabl* enabl* grant* approv* add adds adding append* "
    "includ* attach* insert* creat* move* moving renam* encod* decod* base64 http* www token* "
    "password* credential* secret* key keys cookie* env ssh aws file* folder* director* repo* "
    "databas* table* account* setting* config* command* shell* terminal* tool* function* api* "
    "url* link* image* paste* submit* fill* purchas* withdraw* donat* tweet* schedul* cancel* "
    "close* fork* clon* checkout* build* compil* launch* spawn* trigger* regist* login* log "
    "authenticat* unlock* mount* format* encrypt* dump* export* import* quer* select* updat* "
    "replac* rewrit* patch* put puts report* contact* public* schick* weiterleit* überweis* "
    "bezahl* führ* ausführ* ruf* lösch* entfern* lies* öffn* lade* speicher* änder* datei* "
    "ordner* passw* schlüssel* konto* befehl* envo* payer exécut* lanc* appel* supprim* effac* "
    "ouvr* lis lire télécharg* enregistr* ajout* fichier* dossier* clé* compte* enví* reenv* paga "
    "pagar ejecut* llam* borr* elimin* abre abrir lee leer descarg* guarda guardar cambi* archiv* "
    "carpet* contraseñ* clave* cuenta* comando*"
)
# All words of a line that only changes what a model says: the talk of attacks, in English.
TALK = word_set(
    "ignore disregard forget bypass override repeat reveal show print tell say write answer "
    "output list describe explain translate pretend act imagine respond reply speak talk begin "
    "start stop obey follow do does did be is are am was were have has had can could will would "
    "must should may you your yourself i me my mine we us our it its they them this that these "
    "those there here all any every each everything anything nothing something some no not never "
    "none without previous prior above below earlier preceding before after following first last "
    "next past instruction instructions rule rules direction directions guideline guidelines "
    "restriction restrictions limit limits limitation limitations filter filters policy policies "
    "prompt prompts system developer mode god jailbreak jailbroken dan stan aim persona character "
    "role model ai assistant chatbot language evil twin unfiltered uncensored free line lines "
    "word words text sentence conversation context message question questions story poem haiku "
    "joke verbatim a an the of in on at to from for with as by about like than and or but if so "
    "then when while what who how why where which now just only also even still again instead "
    "please once ever told given said made know known believe think anymore longer more less "
    "other another same new attack attacks benign overrides label labels id category true false "
    "yes ok haha lol pwned"
)
