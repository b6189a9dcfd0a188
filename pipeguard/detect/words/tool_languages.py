"""Stems of other languages for words of detect.words.tools, by their meaning in English.

Used by detect.flows.tool_words. A word that begins with a stem has its meaning; `_` at the end
makes a stem a whole word. Ideographs, Hangul, Arabic and Devanagari are looked for anywhere, since
no blank parts their words in a name. What is short and means something else in English is left out.
"""

from __future__ import annotations

STEMS = {
    "send": (
        "senden sendet verschick versend schick enviar envía enviamos envoye envoi "
        "inviare invia verzend verstuur отправ послать пересл gönder wyśl wysył skicka "
        "发送 發送 送信 보내 전송 إرسال ارسال भेज"
    ),
    "publish": (
        "veröffentlich publicar publica publier publie pubblica опубликов публик "
        "yayınla opublikuj 发布 發佈 投稿 公開 게시 نشر प्रकाशित"
    ),
    "mail": "correo courriel posta eposta почт письм 邮件 郵件 メール 이메일 메일 بريد ईमेल",
    "message": (
        "nachricht mensaje messaggio mensagem bericht сообщен mesaj wiadomoś meddelande "
        "消息 メッセージ 메시지 رسالة संदेश"
    ),
    "comment": (
        "kommentar comentari commentaire commento коммент yorum komentarz 评论 コメント "
        "댓글 تعليق टिप्पणी"
    ),
    "forum": "форум 论坛 論壇 掲示板 게시판 منتدى",
    "read": (
        "lesen liest leer_ lire_ leggi leggere lezen чтение читать прочит oku_ czytaj "
        "读取 讀取 読 읽 قراءة पढ़"
    ),
    "get": (
        "abrufen holen hole_ obtener obten obtenir récupér recuper ottien получ pobierz "
        "hämta 获取 獲取 取得 가져오 조회 جلب प्राप्त"
    ),
    "search": (
        "suche buscar busca_ cherche recherch cerca_ cercare zoek искать поиск найти "
        "ara_ szukaj 搜索 搜尋 検索 검색 بحث खोज"
    ),
    "write": (
        "schreib escrib écrire scriv escrev запис написа yaz_ zapisz 写入 寫入 書き込 "
        "쓰기 작성 كتابة लिख"
    ),
    "save": ("speicher guardar guarda_ enregistr salvar salva_ сохран kaydet 保存 저장 حفظ सहेज"),
    "delete": (
        "lösch elimin borrar supprim cancella excluir apagar удал sil_ usuń 删除 刪除 "
        "削除 삭제 حذف हटा"
    ),
    "run": (
        "ausführ ejecut exécut esegu executar выполн запуст çalıştır uruchom 执行 執行 "
        "実行 실행 تشغيل चला"
    ),
    "file": (
        "datei archivo fichier arquivo файл dosya plik bestand 文件 檔案 ファイル 파일 ملف फ़ाइल"
    ),
    "password": (
        "passwort kennwort contraseñ senha парол wachtwoord hasło 密码 密碼 パスワード "
        "비밀번호 पासवर्ड"
    ),
    "secret": (
        "geheim tresor secreto segreto segredo секрет sekret 密钥 密鑰 秘密 鍵 "
        "シークレット 비밀 سرية गुप्त"
    ),
    "credentials": "zugangsdaten credencial identifiants credenzial учётн учетн",
    "customer": "kunde cliente клиент müşteri klient 客户 客戶 顧客 고객 عميل ग्राहक",
    "public": "öffentlich público pública pubblic публичн 公开 公開 公共 공개 عام_ सार्वजनिक",
    "page": "webseite página pagina_ страниц sayfa strona 网页 ページ 페이지 صفحة पृष्ठ",
    "note": "notiz notas_ заметк notatk 笔记 筆記 メモ 메모 ملاحظة",
    "pay": (
        "bezahl überweis pagar pago_ payer paiement pagament оплат платёж платеж ödeme "
        "zapłać 支付 付款 支払 결제 دفع भुगतान"
    ),
    "recipient": (
        "empfänger destinatari destinataire para_ получател кому_ 收件人 宛先 받는사람 المستلم"
    ),
    "body": (
        "inhalt texto_ texte_ testo_ corpo cuerpo текст_ содержан 正文 本文 内容 내용 نص_ विषय"
    ),
    "address": "adresse_ dirección indirizzo endereço адрес 地址 アドレス 주소 عنوان पता",
}
