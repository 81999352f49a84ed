"""Pages of the sites in languages other than English."""

from __future__ import annotations

PAGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "de": (
        "Willkommen in der Python-Bibliothek",
        (
            "Diese Seiten beschreiben die Module, die zusammen mit dem Interpreter ausgeliefert werden. Jede Funktion "
            "hat eine kurze Zusammenfassung, eine Liste ihrer Parameter und, wo es sinnvoll ist, ein Beispiel, das man "
            "unverändert in eine Sitzung kopieren kann.",
            "Wer gerade erst anfängt, sollte mit den Zeichenketten und den eingebauten Datentypen beginnen und sich "
            "danach die Module für Dateien und Pfade ansehen. Die meisten Programme brauchen nicht viel mehr als das.",
            "Fehler in der Übersetzung melden Sie bitte an die Redaktion. Die englische Fassung gilt im Zweifel immer, "
            "denn sie wird bei jeder neuen Version zuerst überarbeitet.",
        ),
    ),
    "fr": (
        "Bienvenue dans la bibliothèque Python",
        (
            "Ces pages décrivent les modules fournis avec l'interpréteur. Chaque fonction est présentée par un résumé, "
            "la liste de ses paramètres et souvent un exemple que l'on peut recopier tel quel dans une session.",
            "Si vous débutez, commencez par les chaînes de caractères et les types de données intégrés, puis passez "
            "aux modules consacrés aux fichiers et aux chemins. La plupart des programmes se contentent de cela.",
            "La version anglaise fait foi : elle est toujours mise à jour la première, et les traductions suivent "
            "quand des volontaires trouvent le temps de s'en occuper.",
        ),
    ),
    "es": (
        "Bienvenidos a la biblioteca de Python",
        (
            "Estas páginas describen los módulos que se instalan junto con el intérprete. Cada función lleva un "
            "resumen breve, la lista de sus parámetros y, casi siempre, un ejemplo que se puede copiar tal cual.",
            "Quien empieza ahora debería leer primero las páginas sobre cadenas y tipos de datos incorporados, y "
            "después las que tratan de archivos y rutas. La mayoría de los programas no necesita mucho más.",
            "Cuando la traducción y el original no coincidan, vale el texto inglés, porque es el que se revisa antes "
            "de publicar una versión nueva.",
        ),
    ),
    "it": (
        "Benvenuti nella libreria di Python",
        (
            "Queste pagine descrivono i moduli distribuiti insieme all'interprete. Di ogni funzione si trovano un "
            "breve riassunto, l'elenco dei parametri e spesso un esempio da copiare così com'è in una sessione.",
            "Chi comincia adesso dovrebbe leggere prima le pagine sulle stringhe e sui tipi incorporati, poi quelle "
            "che riguardano i file e i percorsi. Alla maggior parte dei programmi non serve molto altro.",
        ),
    ),
    "pt": (
        "Bem-vindo à biblioteca do Python",
        (
            "Estas páginas descrevem os módulos que acompanham o interpretador. Cada função tem um resumo curto, a "
            "lista dos seus parâmetros e, quando faz sentido, um exemplo que pode ser copiado sem alterações.",
            "Quem está começando deve ler primeiro as páginas sobre textos e tipos de dados embutidos e depois as que "
            "falam de arquivos e caminhos. A maioria dos programas não precisa de muito mais do que isso.",
        ),
    ),
    "nl": (
        "Welkom bij de Python-bibliotheek",
        (
            "Deze pagina's beschrijven de modules die met de interpreter worden meegeleverd. Bij elke functie staat "
            "een korte samenvatting, een lijst van parameters en meestal een voorbeeld dat je zo kunt overnemen.",
            "Wie net begint, leest het best eerst over tekenreeksen en ingebouwde gegevenstypen en daarna over "
            "bestanden en paden. De meeste programma's hebben niet veel meer nodig dan dat.",
        ),
    ),
    "pl": (
        "Witamy w bibliotece Pythona",
        (
            "Te strony opisują moduły dostarczane razem z interpreterem. Każda funkcja ma krótkie streszczenie, listę "
            "parametrów i zwykle przykład, który można bez zmian skopiować do sesji.",
            "Początkujący powinni najpierw przeczytać o napisach i wbudowanych typach danych, a potem o plikach i "
            "ścieżkach. Większość programów nie potrzebuje wiele więcej.",
        ),
    ),
    "ru": (
        "Добро пожаловать в библиотеку Python",
        (
            "На этих страницах описаны модули, которые поставляются вместе с интерпретатором. Для каждой функции "
            "приведены краткое описание, список параметров и обычно пример, который можно сразу скопировать.",
            "Тем, кто только начинает, стоит сначала прочитать о строках и встроенных типах данных, а затем о файлах и "
            "путях. Большинству программ больше почти ничего не нужно.",
        ),
    ),
    "sv": (
        "Välkommen till Pythons bibliotek",
        (
            "De här sidorna beskriver modulerna som följer med tolken. Varje funktion har en kort sammanfattning, en "
            "lista över sina parametrar och oftast ett exempel som går att kopiera rakt av.",
            "Den som är nybörjare bör först läsa om strängar och inbyggda datatyper och sedan om filer och sökvägar. "
            "De flesta program behöver inte mycket mer än så.",
        ),
    ),
    "ja": (
        "Python ライブラリへようこそ",
        (
            "このサイトでは、インタプリタと一緒に配布されるモジュールについて説明します。それぞれの関数には、短い要約と"
            "引数の一覧があり、多くの場合はそのまま試すことのできる例も付いています。",
            "初めての方は、まず文字列と組み込みのデータ型の説明を読み、次にファイルとパスを扱うモジュールへ進んでください。"
            "ほとんどのプログラムは、それだけで書くことができます。",
        ),
    ),
}
"""Language code to title and paragraphs."""

LEGACY_ENCODING = {"es": "iso-8859-1"}
"""Encodings of the pages that are not UTF-8, like many old pages on the web."""
