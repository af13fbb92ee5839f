"""The strings on which tokenizers are compared: a fixed list and a seeded one."""

import random
import unicodedata

CODE = [
    "#include <stdio.h>\n\nint main(void)\n{\n\tprintf(\"Hello, %s!\\n\", \"world\");\n\treturn 0;\n}\n",
    "def fib(n: int) -> int:\n    if n < 2:\n        return n\n    return fib(n - 1) + fib(n - 2)\n",
    "const f = async ({a, b = 2, ...rest}) => { await g(a ?? b); return `${a}-${rest?.c}`; };",
    "fn main() -> Result<(), Box<dyn std::error::Error>> {\n    let v: Vec<u8> = (0..=255).collect();\n    Ok(())\n}",
    "SELECT id, COUNT(*) FROM users WHERE name LIKE 'O''Brien%' GROUP BY id HAVING COUNT(*) >= 10;",
    "<!DOCTYPE html>\n<html lang=\"en\">\n  <body class='x y'>&nbsp;&amp;<br/></body>\n</html>",
    "for f in *.txt; do sed -e 's/\\s\\+/ /g' \"$f\" | awk '{print $1}' >> out.log 2>&1; done",
    "{\"key\": [1, 2.5e-3, null, true], \"nested\": {\"a\\u00e9\": \"\\\\\"}}",
    "    \tmixed = [\n\t\t\t1,\n\n\n\n  2 ]  # tabs and spaces  \t\n",
    "std::map<std::string, std::vector<int>>::const_iterator it = m.begin(); ++it; x <<= 3; a->b::c;",
    "\\begin{equation}\n  E = mc^2 + \\frac{1}{2}\\sum_{i=0}^{n} x_i\n\\end{equation}",
    "func (s *Server) Serve(ctx context.Context) error {\n\tselect {\n\tcase <-ctx.Done():\n\t}\n}",
    "-- | Haskell\nmap' :: (a -> b) -> [a] -> [b]\nmap' f = foldr ((:) . f) []",
    "all: $(OBJ)\n\t@$(CC) $(CFLAGS) -o $@ $^\n\n.PHONY: all clean\n",
    "diff --git a/x b/x\n@@ -1,3 +1,4 @@\n-old line\n+new line\n \n",
    "0xDEADBEEF 0b1010 1_000_000 3.14159e+10 1'000'000ULL -42 +7 .5 5. 1e9",
    "if(!strcmp(argv[1],\"--help\")||argc<2){usage();exit(EXIT_FAILURE);}/*....*/////",
    "C:\\Users\\me\\Documents\\file (1).txt https://example.com/a/b?c=d&e=f%20g#h mailto:x@y.zz",
]

PROSE = [
    "The quick brown fox jumps over the lazy dog.",
    "It's they'RE WE'VE I'M she'LL he'D 'S 'T 'RE 'VE 'M 'LL 'D 's't're've'm'll'd",
    "It\u2019s they\u2019re WE\u2019VE I\u2019M she\u2019ll \u02bcs \uff07s",
    "don'tdon'T o'clock rock'n'roll y'all'd've 'tis 'twas 'em",
    "Der Fluß fließt übers Moor; Straßenbahn, Äpfel, Öl, Übermut.",
    "L'été dernier, j'ai mangé une crème brûlée à l'île d'Oléron; ça coûte 12,50 €.",
    "El niño pequeño comió piñas ¿verdad? ¡Sí!",
    "Příliš žluťoučký kůň úpěl ďábelské ódy.",
    "Zażółć gęślą jaźń. İstanbul'da ılık ışık; IĞDIR ığdır.",
    "Съешь же ещё этих мягких французских булок, да выпей чаю.",
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. ΌΣΟΣ όσος",
    "我能吞下玻璃而不伤身体。今天天气很好,我们去公园吧!",
    "私はガラスを食べられます。それは私を傷つけません。カタカナ ひらがな 漢字",
    "나는 유리를 먹을 수 있어요. 그래도 아프지 않아요.",
    "ฉันกินกระจกได้ แต่มันไม่ทำให้ฉันเจ็บ",
    "أنا قادر على أكل الزجاج و هذا لا يؤلمني. السَّلَامُ عَلَيْكُمْ ١٢٣٤٥",
    "אני יכול לאכול זכוכית וזה לא מזיק לי. שָׁלוֹם",
    "मैं काँच खा सकता हूँ और मुझे उससे कोई चोट नहीं पहुंचती। १२३४५६७८९०",
    "আমি কাঁচ খেতে পারি। தமிழ் நான் கண்ணாடி సాపిడతా ಕನ್ನಡ മലയാളം ગુજરાતી ਪੰਜਾਬੀ",
    "მინას ვჭამ და არა მტკივა. Կրնամ ապակի ուտել։ አማርኛ መስታወት ខ្មែរ ລາວ မြန်မာ བོད་སྐད",
    "Tôi có thể ăn thủy tinh mà không hại gì. Đường phố Hà Nội",
    "Aɪ kæn iːt ɡlɑːs ænd ɪt dʌznt hɜːt miː. ʃʒθðŋ",
    "ǅ ǈ ǋ ǲ ǆ Ǆ ᾈ ᾼ ʰ ʲ ˠ ª º ⁿ ₐ ᵃ ヽ々〻 ー",
    "ﬁ ﬂ ﬀ ﬃ Å Å Å K Kelvin \u212a vs K; \u212b; ſ long s ſtop; İ i̇ ı I; ß ẞ; 's 'ſ \u017f",
    "'\u017f 'LL 'l\u017f we\u2019\u017f IT'\u017f it'\u212a",
    "① ② ⅷ Ⅻ ½ ¾ ² ³ ⁴ ₅ 𝟘𝟙𝟚 ٣٤ ๓๔ 一二三 〇 ㊿ ㋿ 🄁 12½ 3² x²y³",
    "x ≤ y ∧ ∀ε>0 ∃δ: |x−a|<δ ⇒ |f(x)−L|<ε ∑∏∫√∞≈≠ ±×÷ ℝℂℤ 𝔸𝒷𝕔",
    "$100 €50 £20 ¥1000 ₹500 ₿0.1 ¢ 50% ‰ № § ¶ † ‡ • … — – ‐ ‑ “q” ‘q’ «q» „q‟",
    "┌─┬┐│├┼┤└┴┘ ▁▂▃▄▅▆▇█ ░▒▓ ◆◇○● ★☆ ♠♣♥♦ ♪♫ ✓✗ ➜ ⏎ ⌘",
    "▁Hello▁world ▁▁▁ ▁ a▁b ▁\n▁ <0x0A> <0xE2> <0xff> ▁<s>▁</s>▁",
    "ĠHello Ċ ĉ Ġ Ġ Ġ âĢĻ é Ģ ń",
]

EMOJI = [
    "😀😃😄 🤣👍👍🏻👍🏿 👩‍🚀 👨‍👩‍👧‍👦 👩🏽‍❤️‍💋‍👨🏾 🏳️‍🌈 🏴‍☠️ 🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    "🇮🇹🇺🇸🇯🇵 🇮🇹 flags🇩🇪flags",
    "☺ ☺️ ☺︎ ❤ ❤️ 1️⃣ #️⃣ *️⃣ ©️ ™️ ㊗️",
    "🫠🫨🪿🩷🫸🏽 🧑‍🧑‍🧒‍🧒 🐦‍🔥 🙂‍↔️ 👁️‍🗨️",
    "👨‍ 👨\u200d\u200d👩 \u200d \ufe0f \ufe0f\ufe0f 🏽 🏽🏽 \U000e0067",
]

SPACES = [
    "", " ", "  ", "   ", "    ", "\t", "\t\t", "\n", "\n\n", "\n\n\n", "\r\n", "\r\n\r\n", "\r", "\r\r",
    "\n\r", " \n", "\n ", " \n ", "  \n  ", "\t\n\t", " \t \t ", "a ", " a", " a ", "  a  ", "a  b",
    "a   b    c     d", "a\tb", "a\t\tb", "a \tb", "a\t b", "a\nb", "a\n\nb", "a \n b", "a  \n\n  b",
    "a\r\nb\r\n", "a\u00a0b", "a\u00a0\u00a0b", "\u00a0a", " \u00a0 ", "a\u3000b", "\u3000\u3000", "a\u2009b",
    "a\u200ab", "a\u2028b", "a\u2029b", "a\u0085b", "a\u000bb", "a\u000cb", "a\u1680b", "a\u202fb", "a\u205fb",
    "a\u180eb", "a\u200bb", "a\ufeffb", "\ufeffBOM", "a\u2060b", "\u2003\u2003x", " \u2003x", "\u2003 x",
    "x\u3000 \u3000y", "...\n", "... \n", "...\n\n  ", "!\r\n", "!\n\n\n!", "1\n", "1 \n2", ")\n\n", "{\n\n\n  }",
    "//\n//", "/// \n", "a/\n", "?/\n/", " /", " \r\n \r\n", "  leading", "trailing  ", "\n leading", "trailing\n ",
    "\x1c\x1d\x1e\x1f", "a\x1cb", "a\x1fb", " \x1f b",
]

PROMPTS = [
    "USER: <image>\nWhat is shown in this picture? ASSISTANT:",
    "<image>\nDescribe this image.", "<image>", "<image><image>", "<image> <image>\n", "a<image>b", "< image >",
    "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nYou are helpful.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\n\nWhat?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
    "<bos><start_of_turn>user\nHello<end_of_turn>\n<start_of_turn>model\n",
    "<|system|>You are a helpful AI assistant.<|end|><|user|>Hi<|end|><|assistant|>",
    "<｜begin▁of▁sentence｜>S<｜User｜>u<｜Assistant｜>a<｜end▁of▁sentence｜>",
    "A chat between a curious user and an artificial intelligence assistant. USER: Hi ASSISTANT: Hello</s>USER: Bye ASSISTANT:",
    "What is the color of the bus?\nAnswer the question using a single word or phrase.",
    "Which one?\nA. red\nB. green\nC. blue\nD. black\nAnswer with the option's letter from the given choices directly.",
    "请直接使用所提供的选项字母作为答案回答。",
    "Reference OCR token: STOP, 5th, AVE., 24/7, 100%",
    "### Human: hi\n### Assistant: hello",
    "[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST] Hello </s><s>[INST] Bye [/INST]",
]

SPECIALS = [
    "<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>",
    "<|reserved_special_token_0|>", "<|reserved_special_token_10|>", "<|reserved_special_token_250|>",
    "<|endoftext|>", "<|endofprompt|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>",
    "<|assistant|>", "<|end|>", "<|user|>", "<|system|>", "<|tool|>",
    "<bos>", "<eos>", "<pad>", "<unk>", "<mask>", "<2mass>", "[@BOS@]", "<unused0>", "<unused98>",
    "<start_of_turn>", "<end_of_turn>", "<code>", "</code>", "<h1>", "</h1>", "\n\n\n", "▁▁▁▁",
    "<s>", "</s>", "<0x41>", "<image>", "<｜User｜>", "<｜Assistant｜>", "<｜begin▁of▁sentence｜>", "<think>",
]

# Texts of the added tokens of small/added_bytes and small/added_pieces, some a prefix of others.
ADDED = ["<ab>", "<ab", "ab>", "[LEFT]", "[RIGHT]", "[BOTH]", "[WORD]", "[NORM]", "[NORM WORD]", "word", "words",
         "café tok", "tok\u00e9n", "##a", "##ab", "##abc"]

AROUND = [
    "{t}", " {t}", "{t} ", " {t} ", "  {t}  ", "a{t}", "{t}a", "a{t}b", "a {t} b", "a  {t}  b", "{t}{t}",
    "{t} {t}", "\n{t}\n", "\t{t}\t", "_{t}_", "-{t}-", "9{t}9", "é{t}é", "\u00a0{t}\u00a0", "a\n {t} \nb", "{t}.", "({t})",
]

WIDE = "abcxyzABCXYZ0189 ,.'-\n\t_éßñøæçÅİıſКжщяЁΩαςあアン漢字国한글ไทยاعב\u0301\u0308\u200d\u00a0\u3000▁😀🏽🇮"


def _categories(rng):
    """Strings that sample every Unicode general category, and one a script area."""
    by_category = {}
    for code in range(1, 0x110000):
        category = unicodedata.category(chr(code))
        if category not in ("Cs", "Cn", "Co"):
            by_category.setdefault(category, []).append(chr(code))
    strings = []
    for category in sorted(by_category):
        chars = by_category[category]
        for _ in range(12):
            few = "".join(rng.choice(chars) for _ in range(rng.randint(1, 8)))
            strings += [few, "a" + few + " 1", " " + few + rng.choice(chars) + "'s"]
    strings += ["".join(chr(rng.randrange(base, base + 256)) for _ in range(10))
                for base in list(range(0x100, 0x3000, 0x100)) + list(range(0x3000, 0xd800, 0x1400))
                + list(range(0xf900, 0x10000, 0x200)) + list(range(0x10000, 0x20000, 0x800))]
    strings += ["\ue000\uf8ff private", "\U000f0000\U0010ffff", "\ufdd0\uffff\ufffe", "\ufffd\ufffd?", "\u0378\u0379"]
    return strings


def _case_oddities():
    """Characters whose lower case, upper case or folding is not one to one."""
    strings = []
    for code in range(0x80, 0x1f000):
        char = chr(code)
        if 0xd800 <= code < 0xe000 or unicodedata.category(char) not in ("Lu", "Ll", "Lt"):
            continue
        if len(char.upper()) > 1 or len(char.lower()) > 1 or char.lower().upper() != char.upper():
            strings.append("'" + char + " x" + char + "y " + char.upper() + char.lower())
    return strings


def _random_strings(rng):
    """Random mixtures: by alphabet, words of the prose above, digits, spaces and repetition."""
    words = " ".join(PROSE + CODE).split(" ")
    blanks = [" ", " ", " ", "  ", "\n", "\t", "\r\n", "\u00a0", "\u3000", "   ", "\n\n", " \n"]
    marks = ["'s", "'LL", "\u2019s", ".", ",", "!?", "...", "--", "/", "'", "\"", "😀", "1", "2024", "\u0301"]
    strings = []
    for _ in range(250):
        strings.append("".join(rng.choice(WIDE) for _ in range(rng.randint(1, 30))))
    for _ in range(350):
        parts = []
        for _ in range(rng.randint(1, 12)):
            parts += [rng.choice(words), rng.choice(blanks), rng.choice(["", "", rng.choice(marks)])]
        strings.append("".join(parts))
    for _ in range(60):
        strings.append("".join(rng.choice("0123456789") for _ in range(rng.randint(1, 14))))
        strings.append(rng.choice(["", " ", "-", "a", "$"]) + "".join(
            rng.choice("0123456789,. ") for _ in range(rng.randint(1, 20))))
    for _ in range(60):
        strings.append("".join(rng.choice(blanks + [" ", "\t", "\n", "\r", "\u2003", "x"]) for _ in range(rng.randint(1, 12))))
    for _ in range(60):
        strings.append("".join(chr(rng.randrange(32, 127)) for _ in range(rng.randint(1, 40))))
    for _ in range(40):
        strings.append("".join(chr(rng.choice([rng.randrange(1, 0x80), rng.randrange(0x80, 0x800),
                                               rng.randrange(0x800, 0xd800), rng.randrange(0x10000, 0x110000)]))
                               for _ in range(rng.randint(1, 12))))
    for _ in range(40):
        text = rng.choice(PROSE)
        start = rng.randrange(len(text))
        piece = text[start:start + rng.randint(3, 25)]
        strings += [piece.upper(), piece.title(), piece.swapcase()]
    for text in PROSE:
        strings += [unicodedata.normalize("NFD", text), unicodedata.normalize("NFKC", text)]
    return strings


def _long_and_repeated():
    """Long words and runs of one character around the sizes at which merges matter."""
    strings = []
    for char in "a=-_ .0\n\t#A🙂é漢▁\u0301'":
        for count in (2, 3, 5, 8, 17, 33, 100):
            strings.append(char * count)
    strings += ["ab" * 150, "antidisestablishmentarianism" * 8, "aB" * 70, "x1" * 60, "a'" * 40, "漢a" * 50,
                "\u1112\u1161\u11ab\u1100\u1173\u11af", "\u1100\u1161 \u11a8", "한글 \u1112\u1161\u11ab",
                "e\u0301\u0302\u0303\u0304 a\u0300\u0301", "\u0301", " \u0301a", "a \u0301", "\u0e33\u0e4d\u0e32",
                "Zalgo: H\u0321\u0353\u0339e\u0334\u0330l\u0318\u0316l\u0321o\u0315",
                "\x01\x02\x03\x04\x07\x08\x0e\x1b[31mred\x1b[0m\x7f", "\x80\x85\x9f\xad"]
    return strings


def all_strings():
    """The list in its final order: what matters most first, no string twice, none with NUL."""
    rng = random.Random(20240117)
    strings = PROMPTS + PROSE + CODE + EMOJI + SPACES
    strings += [pattern.format(t=s) for s in SPECIALS + ADDED for pattern in AROUND]
    strings += [a + between + b for a in ADDED for b in ADDED for between in ("", " ") if rng.random() < 0.4]
    strings += [chr(code) for code in range(1, 128)] + [" " + chr(code) for code in range(33, 127)]
    strings += [chr(code) + "'s" for code in range(33, 127, 5)]
    strings += _long_and_repeated() + _case_oddities() + _categories(rng) + _random_strings(rng)
    unique = dict.fromkeys(strings)
    assert not any("\0" in s for s in unique)
    return list(unique)
