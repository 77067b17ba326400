"""What the findings ask, and the words around it: the rows of each table, and the two pages' texts."""

# The lines before any command: a model, and what its commands are about.
LOAD = """\
from make_findings import *

lm = aero.load("mini")  # or "gpt2", "smollm2"; the untrained model: aero.load("mini").untrained()
"""
SETUP = """\
scenes = aero.read_scenes()
texts = [scene.text for scene in scenes]
records = [lm.record(text) for text in texts]
tables = aero.shift_tables(records)
table = aero.mean_over_texts(tables)
effects = aero.intervention_table(lm, texts).set_index("intervention")
effect = partial(effect, effects=effects)
links = aero.link_table(records, scenes)
sentences = aero.read_scenes(RIVALS)
rivals = aero.rival_table([lm.record(sentence.text) for sentence in sentences], sentences)
matrices = matrices_of(lm)  # or aero.read_head_matrices(file, 12) for GPT-2 Small's tensors without the model
pairs = [[x[:, :, :9] for x in lm.queries_and_keys(text)] for text in texts]
of_terms = partial(of_terms, pairs=pairs)
profile_texts, long_texts = aero.shuffled_texts(scenes[::2], 24), aero.shuffled_texts(scenes[1::2], 12)
cut = lambda text: lm.record(text, truncate=256)
profile, long_records = aero.position_profile(map(cut, profile_texts)), list(map(cut, long_texts))
parts = [aero.part_table([r.first(n) for r in long_records], profile) for n in WINDOWS]
costs = partial(costs, lm=lm, texts=long_texts)
"""

# On the same texts in all columns. Claim in both languages, or: label, test (vi, en), command, how it is written, verdict.
CLAIMS = [
    ("Điểm thô bị đẩy về phía âm.", "Raw scores are pushed to the negative side."),
    ("1a", "tỉ lệ điểm dưới 0, mọi ô nhân quả", "share below 0, all causal entries", "over_texts(tables)", ".2f",
     "do huấn luyện mà có; con số tùy vào mô hình và độ dài văn bản (xem bảng 3)",
     "learnt; it belongs to a model and a length (see table 3)"),
    ("1b", "bỏ khóa 0", "without key 0", 'over_texts(aero.shift_tables(records, "without_key_0"))', ".2f",
     "con số tùy cách đếm", "the number depends on what is counted"),
    ("1c", "bỏ đường chéo", "without the diagonal", 'over_texts(aero.shift_tables(records, "without_diagonal"))', ".2f",
     "", ""),
    ("1d", "truy vấn cuối, bỏ khóa 0 và chính token ấy", "last query, without key 0 and itself",
     'over_texts(aero.shift_tables(records, "last_query"))', ".2f",
     "cách chọn của notebook gốc", "the original notebook's choice"),
    ("1e", "chỉ khóa 0", "key 0 alone", 'over_texts(aero.shift_tables(records, "key_0"))', ".2f",
     "ở mô hình có điểm hút, khóa 0 nghiêng về phía dương", "where there is a sink, key 0 leans to the positive side"),
    ("1f", "trung vị của điểm thô", "median raw score",
     "np.median(np.concatenate([r.raw_scores[..., aero.causal_mask(r.n_tokens)].flatten() for r in records]))", ".1f",
     "", ""),
    ("1g", "tỉ lệ nhỏ nhất và lớn nhất trong các tầng", "smallest and largest share of a layer",
     'tables.groupby("layer").share_below_zero.mean().agg(["min", "max"]).tolist()', ".2f…",
     "tùy tầng", "depends on the layer"),
    ("1h", "số lượng đầu có quá nửa điểm dưới 0", "heads with more than half below 0",
     "[(table.share_below_zero > 0.5).sum(), len(table)]", "of", "", ""),
    ("1i", "bẫy: ghép truy vấn của đầu này với khóa của đầu khác; nhỏ nhất; lớn nhất sau 20 phép đổi dấu ngẫu nhiên, vốn không làm đổi mô hình",
     "a trap: queries with the keys of other heads; after 20 random flips of signs that leave the model as it is,"
     " smallest; largest",
     "with_other_keys(lm, texts[0])", ".2f;",
     "không đo được gì: con số đổi mà mô hình không đổi", "no measurement: the number changes, the model does not"),
    ("Softmax nhìn thấy độ dịch.", "The softmax sees the shift."),
    ("2a", "mức: tỉ phần của trung bình bình phương thuộc về trung bình hàng (gộp mọi đầu)",
     "level: share of the mean square that is the row's mean (heads pooled)", "level_share(records)", ".2f",
     "vô hình với softmax; bao nhiêu thì tùy độ dài (bảng 3 và 4)", "invisible; how much depends on the length (tables 3, 4)"),
    ("2b", "bỏ mức của mỗi hàng: trọng số chú ý đổi nhiều nhất", "remove each row's level: largest change of a weight",
     "weight_change(records, without_level)", ".0e", "sai: không đổi gì", "false: nothing changes"),
    ("2c", "cộng vào mỗi hàng một hằng số để mọi điểm thành dương: mất mát đổi",
     "add to each row a constant that makes all positive: change of loss",
     'effects.loss_change["add a constant to each row"]', "+.3f", "sai: không đổi gì", "false: nothing changes"),
    ("2d", "đặt điểm âm bằng 0: trọng số chú ý đổi nhiều nhất", "set negative scores to 0: largest change of a weight",
     "weight_change(records, clip_negative)", ".2f",
     "có đổi, vì phá luôn các hiệu trong hàng", "changes, because it destroys the differences in a row"),
    ("2e", "đặt điểm âm bằng 0: mất mát đổi", "set negative scores to 0: change of loss",
     'effects.loss_change["set negative scores to 0"]', "+.2f", "", ""),
    ("2f", "xóa b_K: logit đổi nhiều nhất", "delete b_K: largest change of a logit",
     "without_key_bias(lm, texts[0])", ".0e",
     "b_K không có tác dụng gì khi vị trí là tuyệt đối (SmolLM2 không có b_K; với RoPE thì khác: bài 07)",
     "b_K does nothing where positions are absolute (SmolLM2 has none; with rotary ones it does: lesson 07)"),
    ("Độ dịch làm chú ý thưa.", "The shift makes attention sparse."),
    ("3a", "ρ của tỉ lệ điểm âm với entropy", "ρ of share below 0 with entropy",
     'rho(tables, "share_below_zero")', "+.2f",
     "dấu đổi theo mô hình (GPT-2 Small: +0,50, bảng 2): tương quan không phân xử được", "its sign differs by model (GPT-2 Small: +0.50, table 2): correlation cannot judge"),
    ("3b", "ρ của độ phân tán theo hàng với entropy", "ρ of row spread with entropy",
     'rho(tables, "row_spread")', "+.2f",
     "gần như là số học, cả ở mô hình chưa huấn luyện: entropy ≈ 1 − phương sai / (2 ln n)",
     "nearly arithmetic, untrained as well: entropy ≈ 1 − variance / (2 ln n)"),
    ("3c", "ρ của độ chênh của khóa 0 với entropy", "ρ of the gap of key 0 with entropy",
     'rho(tables, "sink_gap")', "+.2f",
     "đổi theo độ dài (bảng 3)", "changes with the length (table 3)"),
    ("3d", "ρ của tỉ lệ điểm âm, khi giữ cố định độ phân tán", "ρ of share below 0, at like spread",
     'rho(tables, "share_below_zero", "row_spread")', "+.2f", "", ""),
    ("3e", "ρ của tỉ lệ điểm âm, bỏ khóa 0 khỏi mọi thứ; cũng vậy, khi giữ cố định độ phân tán",
     "ρ of share below 0, key 0 left out of everything; the same at like spread",
     'rho_without_key_0(records)', "+.2f;",
     "ở GPT-2 Small, phần lớn của +0,50 (bảng 2) là do khóa 0", "in GPT-2 Small most of +0.50 (table 2) is key 0's"),
    ("3f", "bỏ mức của mỗi hàng: entropy, mất mát đổi", "remove each row's level: change of entropy, of loss",
     'effect("remove each row\'s level")', "+.2f;", "sai: bỏ độ dịch không đổi gì", "false: without it nothing changes"),
    ("3g", "độ phân tán × 2: entropy, mất mát đổi", "spread × 2: change of entropy, of loss",
     'effect("spread × 2")', "+.2f;", "chính độ phân tán làm chú ý thưa; cũng là số học (nhiệt độ)",
     "spread makes it sparse; that too is arithmetic (a temperature)"),
    ("3h", "độ phân tán × 0,5: entropy, mất mát đổi", "spread × 0.5: change of entropy, of loss",
     'effect("spread × 0.5")', "+.2f;", "câu hỏi thật: cái gì tạo ra độ phân tán (bảng 4)",
     "the real question is what makes the spread (table 4)"),
    ("Độ dịch và điểm hút là một.", "Shift and sink are one thing."),
    ("4a", "trọng số chú ý trên khóa 0; mức ngẫu nhiên", "weight on key 0; chance",
     "[table.sink_weight.mean(), chance(records)]", ".2f;",
     "sai: `mini`, từ 50 token trở lên, có độ dịch mà không có điểm hút", "false: `mini`, from 50 tokens on, has the shift and no sink"),
    ("4b", "che khóa 0; 1; 2; 3: mất mát đổi", "hide key 0; 1; 2; 3: change of loss",
     '[effects.loss_change[f"hide key {key}"] for key in range(4)]', "+.2f;",
     "che khóa nào trong bốn khóa đầu tiên cũng gây hại; khóa 0 nhiều nhất",
     "hiding any of the first four keys costs something; key 0 the most"),
    ("4c", "tỉ phần bình phương trong hàng do độ chênh của khóa 0; do một khóa chọn ngẫu nhiên, trung bình",
     "share of the squares within rows made by the gap of key 0; by a key at random, on the mean",
     "from_key_0(records)", ".2f;", "giảm khi văn bản dài ra (bảng 3)", "falls as texts get longer (table 3)"),
    ("4d", "trọng số trên khóa 1; khi khóa 0 bị che trong điểm số đã ghi",
     "weight on key 1; with key 0 hidden in the recorded scores",
     "on_key_1(records)", ".2f;", "", ""),
    ("4e", "trọng số trên khóa 1, khi mô hình chạy mà khóa 0 bị che ở mọi tầng",
     "weight on key 1, with key 0 hidden in every layer of the running model", "on_key_1_running(lm, texts)", ".2f",
     "SmolLM2: như đọc văn bản bắt đầu muộn một token (vị trí xoay): token thấy được đầu tiên thành điểm hút", "SmolLM2: as if the text began one token later (rotary positions): the first visible token is the sink"),
]  # fmt: skip

KINDS = (
    ("determiner–noun", "hạn định từ – danh từ"),
    ("adjective–noun", "tính từ – danh từ"),
    ("verb–object", "động từ – tân ngữ"),
    ("pronoun–antecedent", "đại từ – tiền ngữ"),
)
LINKS = [
    ("Độ dịch chừa chỗ cho vài liên kết ngữ pháp.", "It leaves room for a few grammatical links."),
    *(
        (f"5{a}", f"{vi}: đầu tốt nhất so với khoảng cách; phần trọng số; mức nền theo khoảng cách",
         f"{kind}: best head against distance; share; distance alone", f'best_head(links, "{kind}")', "head", *verdict)
        for a, (kind, vi), verdict in zip("abcd", KINDS, (
            ("mức nền quá yếu: xem 5e–5h", "too weak a null: see 5e–5h"), ("", ""), ("", ""), ("", "")))
    ),
    *(
        (f"5{a}", f"đầu ấy khi từ đúng gần hơn: thắng; khi từ cạnh tranh gần hơn: thắng ({vi})",
         f"that head where the right word is nearer: wins; where the rival is ({kind})",
         f'on_rivals(rivals, best_head(links, "{kind}")[0], "{kind}")', "wins", *verdict)
        for a, (kind, vi), verdict in zip("efgh", KINDS, (
            ("`mini`: nhìn hạn định từ gần nhất, không phải hạn định từ của danh từ",
             "`mini`: looks at the nearest determiner, not at the noun's own"),
            ("", ""),
            ("`mini`: động từ gần nhất", "`mini`: the nearest verb"),
            ("SmolLM2, đầu 13.8: cũng thiên về từ gần hơn", "SmolLM2's 13.8 prefers the nearer one, too")))
    ),
    *(
        (f"5{a}", f"đầu tốt nhất theo cả hai thứ tự, chọn trên một nửa, đo trên nửa kia: thắng; thắng ({vi})",
         f"best head in both orders, chosen on one half, measured on the other: wins; wins ({kind})",
         f'best_on_rivals(rivals, "{kind}")', "both", *verdict)
        for a, (kind, vi), verdict in zip("ijkl", KINDS, (
            ("`mini`: không có đầu nào; SmolLM2: có", "`mini`: none; SmolLM2: found"),
            ("ví dụ của bài gốc: không thấy ở mô hình nào", "the lesson's own example: found in neither"),
            ("SmolLM2: có", "SmolLM2: found"),
            ("SmolLM2: có, và không phải là 13.8", "SmolLM2: found, and it is not 13.8")))
    ),
]  # fmt: skip

# From weights alone, no text: nothing here depends on a length.
MATRICES = [
    ("Chuẩn của W_Q, W_K ở các tầng cho biết tầng nào chú ý mạnh hơn (bài 06).",
     "The norms of W_Q and W_K say which layers attend harder (lesson 06)."),
    ("6a", "‖W_Q‖ ở tầng đầu tiên, tầng cuối; cũng vậy, đã gộp `ln_1`",
     "‖W_Q‖ in the first and the last layer; the same with `ln_1` folded in",
     'first_and_last(matrices, "norm_w_q")', ".1f;",
     "không so được giữa các tầng: W_Q · c cùng với W_K / c cho vẫn mô hình ấy",
     "cannot be compared between layers: W_Q · c with W_K / c is the same model"),
    ("6b", "ρ của tầng với ‖W_Q W_Kᵀ‖; đã gộp `ln_1`", "ρ of layer and ‖W_Q W_Kᵀ‖; with `ln_1` folded in",
     'by_depth(matrices, "norm_qk")', "+.2f;",
     "sai: khi gộp, ở GPT-2 xu hướng biến mất, còn ở `mini` lại hiện ra một xu hướng", "false: in GPT-2 the trend goes, in `mini` one appears"),
    ("6c", "ρ của tầng với ‖W_V W_O‖; đã gộp `ln_1`", "ρ of layer and ‖W_V W_O‖; with `ln_1` folded in",
     'by_depth(matrices, "norm_ov")', "+.2f;",
     "tăng theo tầng, gộp hay không cũng vậy", "rises with the layer, folded or not"),
    ("6d", "W_Q W_Kᵀ, đã gộp: phần của Σσ² nằm ở 1/8 số giá trị kỳ dị lớn nhất: trung bình các đầu; đầu cao nhất",
     "W_Q W_Kᵀ, folded: share of Σσ² that 1/8 of the singular values hold, mean; largest",
     'top_share(matrices, "qk_top_share")', ".2f;", "", ""),
    ("6e", "W_V W_O, cũng vậy", "W_V W_O, likewise", 'top_share(matrices, "ov_top_share")', ".2f;", "", ""),
    ("6f", "W_Q W_Kᵀ: trung bình ở tầng 1; tầng 2; tầng cuối; ma trận ngẫu nhiên",
     "W_Q W_Kᵀ: mean in layer 1; layer 2; the last; a random matrix",
     'few_directions(matrices, "qk_top_share")', ".2f;",
     "GPT-2: tầng 1 và 2 cao hẳn, các tầng sau gần mức ngẫu nhiên", "GPT-2: layers 1 and 2 high, later ones near chance"),
    ("6g", "số lượng đầu có phần ấy hơn hai lần mức ngẫu nhiên: tầng 1; tầng 2; mọi tầng",
     "heads with more than twice chance: in layer 1; in layer 2; in all",
     'heads_of_few_directions(matrices, "qk_top_share")', ".0f;", "", ""),
    ("6h", "‖b_K‖ của một tầng, nhỏ nhất; lớn nhất", "‖b_K‖ of a layer, smallest; largest",
     "key_constant(matrices)", ".1f;", "softmax không thấy (vị trí tuyệt đối)", "invisible (absolute positions)"),
    ("6i", "‖b_K + βW_K‖, hằng số của khóa, đã gộp: nhỏ nhất; lớn nhất",
     "‖b_K + βW_K‖, the key constant, folded: smallest; largest", "key_constant(matrices.folded())", ".1f;",
     "phần lớn nằm ở β của ln_1", "most of it is ln_1's β"),
]  # fmt: skip

# Each row once for each length: the first n tokens. `records` have raw scores; `seen` may have weights alone.
LENGTHS = (6, 9, 12, 17, 50, 250)
BY_LENGTH = [
    ("7a", "tỉ lệ điểm dưới 0", "share below 0", "share(aero.shift_tables(records))", ".2f"),
    ("7b", "như trên, bỏ khóa 0", "the same without key 0", 'share(aero.shift_tables(records, "without_key_0"))', ".2f"),
    ("7c", "mức: phần vô hình của trung bình bình phương", "level: the invisible share of the mean square",
     "level_share(records)", ".2f"),
    ("7d", "trọng số trên khóa 0; mức ngẫu nhiên", "weight on key 0; chance",
     "[aero.shift_tables(seen).sink_weight.mean(), chance(seen)]", ".2f;"),
    ("7e", "entropy", "entropy", "aero.shift_tables(seen).entropy.mean()", ".2f"),
    ("7f", "độ phân tán theo hàng", "row spread", "aero.shift_tables(seen).row_spread.mean()", ".2f"),
    ("7g", "tỉ phần bình phương trong hàng do khóa 0; do một khóa chọn ngẫu nhiên, trung bình",
     "share of the squares within rows: key 0's; a key's at random, on the mean", "from_key_0(seen)", ".2f;"),
    ("7h", "ρ của tỉ lệ điểm âm với entropy", "ρ of share below 0 with entropy",
     'with_entropy(records, "share_below_zero")', "+.2f"),
    ("7i", "ρ của độ phân tán với entropy", "ρ of row spread with entropy",
     'with_entropy(seen, "row_spread")', "+.2f"),
    ("7j", "ρ của độ chênh của khóa 0 với entropy", "ρ of the gap of key 0 with entropy",
     'with_entropy(seen, "sink_gap")', "+.2f"),
]  # fmt: skip

# Each row once for each window: n tokens; the profile is estimated on other sentences than those that are measured.
WINDOWS = (16, 64, 128, 256)
PARTS = [
    ("8a", "mức; vị trí; nội dung (gộp mọi đầu)", "level; position; content (heads pooled)",
     "[aero.pooled_parts(each).tolist() for each in parts]", ".2f;"),
    ("8b", "mức; vị trí; nội dung (trung bình các đầu)", "level; position; content (mean over heads)",
     "[each[['level', 'position', 'content']].mean().tolist() for each in parts]", ".2f;"),
    ("8c", "vị trí, trong phần softmax thấy (gộp mọi đầu)", "position, of what the softmax sees (heads pooled)",
     "of_the_visible(parts)", ".2f"),
    ("8d", "bỏ mức: mất mát đổi", "without the level: change of loss", "costs(without_level)", "+.2f"),
    ("8e", "chỉ giữ vị trí", "position alone", "costs(position_alone(profile))", "+.2f"),
    ("8f", "chỉ giữ nội dung", "content alone", "costs(content_alone(profile))", "+.2f"),
    ("8g", "chú ý đều (chỉ giữ mức)", "uniform attention (level alone)", "costs(level_alone)", "+.2f"),
]  # fmt: skip

PLACES = (0, 64, 128, 192, 240, 255)
RAMP = [
    ("9a", f"điểm thô trung bình của truy vấn 255 với khóa {', '.join(map(str, PLACES))}",
     f"mean raw score of query 255 with keys {', '.join(map(str, PLACES))}", "by_place(long_records)", ".0f;",
     "`mini`: một dốc lên; SmolLM2: điểm hút", "`mini`: a ramp; SmolLM2: a sink"),
    ("9b", "truy vấn 192 đến 255, khóa ở bốn phần tư: tỉ lệ điểm dưới 0", "queries 192 to 255, keys by quarter: share below 0",
     "by_quarter(long_records)", ".2f;", "`mini`: tỉ lệ giảm theo vị trí của khóa", "`mini`: falls with the key's position"),
    ("9c", "mười sáu cảnh dời đi 0, 32, 64, 128 vị trí: tỉ lệ điểm dưới 0", "the sixteen scenes moved on by 0, 32, 64, 128 positions:"
     " share below 0", "moved(lm, texts)", ".2f;",
     "`mini` đổi (khi huấn luyện nó chưa gặp cách đặt ấy); SmolLM2 không đổi: vị trí xoay chỉ biết hiệu",
     "`mini` changes (it never met such placing in training); SmolLM2 does not: rotary positions know differences only"),
]  # fmt: skip

# Nine tokens, as one recorded sentence of GPT-2 has queries and keys.
TERMS = [
    ("10a", "phần của mỗi số hạng trong trung bình của điểm thô: q·k; b_Q·k; q·b_K; b_Q·b_K",
     "what each term adds to the mean raw score: q·k; b_Q·k; q·b_K; b_Q·b_K",
     'of_terms("mean", matrices)', ".1f;", "", ""),
    ("10b", "cũng vậy, đã gộp β của `ln_1` vào bias", "the same with `ln_1`'s β folded into the biases",
     'of_terms("mean", matrices.folded())', ".1f;", "bốn số hạng tùy vào chỗ đặt β", "the four depend on where β is put"),
    ("10c", "phần của mỗi số hạng trong độ chênh của khóa 0", "what each term adds to the gap of key 0",
     'of_terms("key_0_gap", matrices)', ".1f;", "GPT-2: phần lớn là b_Q·k", "GPT-2: mostly b_Q·k"),
    ("10d", "cũng vậy, đã gộp", "the same, folded", 'of_terms("key_0_gap", matrices.folded())', ".1f;", "", ""),
    ("10e", "trọng số trên khóa 0: nguyên vẹn; bỏ b_Q; bỏ b_Q đã gộp; mức ngẫu nhiên",
     "weight on key 0: as it is; without b_Q; without the folded b_Q; chance", "sink_without_query_bias(matrices, pairs)",
     ".2f;", "GPT-2: bỏ b_Q thì mất phần lớn điểm hút, không phải tất cả", "GPT-2: without b_Q most of the sink goes, not all of it"),
]  # fmt: skip

# The beginnings of three texts recorded by the Transformer Explainer project (github.com/poloclub/transformer-explainer, MIT)
PROMPTS = (
    "Data visualization empowers users to",
    "Artificial Intelligence is transforming the",
    "As the spaceship was approaching the",
)

COLUMNS = {
    "untrained": ("chưa huấn luyện (`mini`)", "untrained (`mini`'s shape)"),
    "mini": ("`mini`", "`mini`"),
    "smollm2": ("SmolLM2-135M (4 bit)", "SmolLM2-135M (4 bits)"),
    "recorded": ("GPT-2 Small: đã ghi", "GPT-2 Small: recorded"),
    "gpt2": ("GPT-2 Small", "GPT-2 Small"),
}

TABLES = [  # (prefix of the labels, rows, lengths or None, columns, title and introduction in both languages)
    ("", CLAIMS, None, ("untrained", "mini", "smollm2", "gpt2"),
     ("1 · Các khẳng định, trên mười sáu cảnh", """\
Cùng văn bản ở mọi cột: 16 cảnh nhỏ (64 câu) viết cho khóa học này (`aero_helpers/scenes.txt`), mỗi cảnh 45 đến 90 token
tùy mô hình. [a; b]: khoảng tin cậy 95% bằng bootstrap, lấy mẫu lại theo văn bản. Mất mát tính bằng nat trên mỗi token."""),
     ("1 · The claims, on sixteen scenes", """\
The same texts in all columns: 16 little scenes (64 sentences) written for this course (`aero_helpers/scenes.txt`), each of
45 to 90 tokens, depending on the model. [a, b]: 95% bootstrap intervals, texts drawn anew. The loss is in nats a token.""")),
    ("p", CLAIMS, None, ("untrained", "mini", "smollm2", "recorded"),
     ("2 · Cùng các phép thử, trên ba câu của GPT-2 Small, mỗi câu 6 token", """\
Điểm số thật của GPT-2 Small trên ba câu do dự án Transformer Explainer (github.com/poloclub/transformer-explainer, giấy phép
MIT) ghi lại; các mô hình khác đọc cùng ba câu, mỗi câu tối đa 6 token của chính mô hình (SmolLM2: 5 hoặc 6). Ở mọi cột, can thiệp tính trên điểm
số đã ghi (các tầng sau không hay biết), nên không có mất mát. Ba văn bản ngắn: quá ít để đưa ra khoảng tin cậy."""),
     ("2 · The same tests, on GPT-2 Small's three prompts of 6 tokens", """\
Real scores of GPT-2 Small on three prompts recorded by the Transformer Explainer project
(github.com/poloclub/transformer-explainer, MIT licence); the other models read the same three, at most 6 of their
own tokens each (SmolLM2: 5 or 6). In all columns interventions act on the recorded scores (later layers do not hear of them), so there is no loss. Three
short texts: too few for intervals.""")),
    ("", BY_LENGTH, LENGTHS, ("untrained", "mini", "smollm2", "recorded"),
     ("3 · Theo độ dài: n token đầu tiên", """\
Ba cột đầu tiên: 12 văn bản ghép từ các câu của tám cảnh, xáo trộn thứ tự (`aero.shuffled_texts`). GPT-2 Small: mọi văn bản đã ghi
có ít nhất n token và không có token mở đầu (ngoài ba câu của bảng 2: 4 văn bản có điểm thô, tới 12 token; 7 văn bản có trọng
số, tới 17 token), từ các kho mã công khai nêu trong `docs/credits.md`. 7d–7g, 7i, 7j chỉ cần trọng số."""),
     ("3 · By length: the first n tokens", """\
First three columns: 12 texts made of the sentences of eight scenes in random orders (`aero.shuffled_texts`). GPT-2 Small: all
recorded texts of at least n tokens without a start token (4 texts with raw scores besides the three prompts of table 2, up to
12 tokens; 7 with weights, up to 17), from public repositories named in `docs/credits.md`. 7d–7g, 7i and 7j need weights alone.""")),
    ("", PARTS, WINDOWS, ("untrained", "mini", "smollm2"),
     ("4 · Ba phần của điểm: mức, vị trí, nội dung", """\
Phần vị trí ước lượng trên 24 văn bản xáo trộn từ các cảnh 0, 2, 4, …; đo trên 12 văn bản từ các cảnh 1, 3, 5, …, không chung
câu nào. Ngữ cảnh của `mini` là 256 token; của SmolLM2 dài hơn nhiều. Mất mát đổi: can thiệp ở mọi tầng, n token đầu tiên."""),
     ("4 · The three parts of a score: level, position, content", """\
The position profile is estimated on 24 shuffled texts from scenes 0, 2, 4, …, and measured on 12 from scenes 1, 3, 5, …, which
share no sentence. `mini`'s context is 256 tokens; SmolLM2's is far longer. Change of loss: in every layer, the first n tokens.""")),
    ("", RAMP, None, ("mini", "smollm2"),
     ("5 · Dốc của `mini`", "Trên 12 văn bản của bảng 3, 256 token mỗi văn bản; dòng 9c trên mười sáu cảnh."),
     ("5 · `mini`'s ramp", "On the 12 texts of table 3, 256 tokens each; row 9c on the sixteen scenes.")),
    ("", LINKS, None, ("untrained", "mini", "smollm2", "gpt2"),
     ("6 · Liên kết ngữ pháp", """\
5a–5d: mười sáu cảnh; chọn đầu trên tám cảnh, đo trên tám cảnh kia, so với cùng đầu ấy ở cùng khoảng cách. 5e–5l: 256 câu
(`aero_helpers/rivals.txt`), 64 câu mỗi loại, trong đó mỗi liên kết có một từ cạnh tranh cùng loại, từ ấy, ở một nửa số câu, đứng gần hơn từ
đúng. Ghi: phần trọng số của từ đúng : của từ cạnh tranh (số lần từ đúng thắng / số câu)."""),
     ("6 · Grammatical links", """\
5a–5d: the sixteen scenes; heads chosen on eight, measured on the other eight, against the same head at the same distance.
5e–5l: 256 sentences (`aero_helpers/rivals.txt`), 64 of each kind, in which each link has a rival of the same kind, nearer than
the right word in half of them. Written: share of the right word : share of the rival (links the right word wins / links).""")),
    ("", MATRICES, None, ("untrained", "mini", "recorded"),
     ("7 · Từ ma trận tham số, không cần văn bản", """\
GPT-2 Small: đo trên chính các ma trận tham số W_Q, W_K, W_V, W_O của nó (OpenAI, giấy phép MIT có sửa đổi)."""),
     ("7 · From the parameter matrices, without a text", """\
GPT-2 Small: measured on its own W_Q, W_K, W_V, W_O (OpenAI, modified MIT licence).""")),
    ("", TERMS, None, ("mini", "recorded"),
     ("8 · Bốn số hạng, 9 token", """\
Trung bình các đầu. GPT-2 Small: một câu 9 token có cả truy vấn và khóa (BertViz, Apache-2.0). `mini`: 9 token đầu tiên của mười sáu
cảnh."""),
     ("8 · Four terms, 9 tokens", """\
Means over heads. GPT-2 Small: one sentence of 9 tokens with its queries and keys (BertViz, Apache-2.0). `mini`: the first 9
tokens of the sixteen scenes.""")),
]  # fmt: skip

PAGES = {
    "vi": {
        "file": "findings.vi.md",
        "text": """\
# Kết quả: độ dịch âm ra tòa

[English](findings.md) · **Tiếng Việt**

Từng khẳng định của bài giảng gốc, phép thử, con số, và phán quyết. Trang này do `make findings` tạo ra; mỗi con số là kết
quả của câu lệnh mang cùng ký hiệu ở cuối trang. Không bảng nào so các mô hình ở những độ dài khác nhau: mọi cột của một
dòng đọc cùng văn bản hoặc cùng số token.

**Độ dịch âm có làm chú ý thưa không?** Không. Trên văn bản ngắn, điểm thô của `mini` và GPT-2 Small phần lớn nằm dưới 0;
ở `mini`, văn bản dài ra thì tỉ lệ ấy giảm đi. Ở SmolLM2 thì ngược lại (bảng 3). *Mức* của một hàng không có nghĩa gì với
softmax: bỏ nó đi thì không trọng số nào đổi. Cái làm chú ý thưa là độ phân tán trong hàng, và một phần lớn của nó là *vị trí*
(bảng 4 và 5: một dốc ở `mini`, một điểm hút và một dốc ngắn ở SmolLM2); phần còn lại là *nội dung*, tức là do từ ngữ. Bản thân dấu của một điểm
không có nghĩa gì.
""",
        "heads": ("", "phép thử", "token", "phán quyết"),
        "commands": """\
## Câu lệnh

`make findings` đo lại `mini`, mô hình chưa huấn luyện và SmolLM2, cùng các bản ghi của GPT-2 nếu có
(`make findings RECORDED=thư_mục`). Với GPT-2 Small, khi kết nối được Hugging Face:
`python tools/make_findings.py gpt2` thêm một cột vào bảng 1 và 6, trên cùng các văn bản.

Mỗi câu lệnh chạy sau đoạn chuẩn bị này, trong thư mục `tools/`; các hàm nhỏ nằm trong `make_findings.py`. Ở bảng 2,
`records` là bản ghi của ba câu; ở bảng 3 và 4, `records`, `seen`, `parts`, `profile`, `costs` tính trên n token đầu tiên.
""",
        "row": ("", "câu lệnh"),
    },
    "en": {
        "file": "findings.md",
        "text": """\
# Findings: the negative shift on trial

**English** · [Tiếng Việt](findings.vi.md)

Every claim of the source lesson, its test, the numbers, the verdict. `make findings` makes this page; each number is what the
command of the same label at its end returns. No table compares models at different lengths: all columns of a row read the
same texts or the same number of tokens.

**Does the negative shift make attention sparse?** No. On short texts the raw scores of `mini` and GPT-2 Small are mostly below
zero; in `mini` the share falls as texts get longer. In SmolLM2 it is the other way round (table 3). A row's *level* means nothing to the
softmax: remove it and not one weight moves. What makes attention sparse is the spread within the row, and a large part of
that is *position* (tables 4, 5: a ramp in `mini`, a sink and a short slope in SmolLM2); the rest is *content*, which words make. The sign of a
score, by itself, means nothing.
""",
        "heads": ("", "test", "tokens", "verdict"),
        "commands": """\
## Commands

`make findings` measures `mini`, the untrained model and SmolLM2 again, and GPT-2's recordings where they are at hand
(`make findings RECORDED=folder`). For GPT-2 Small, where the hub is within reach: `python tools/make_findings.py gpt2`
adds a column to tables 1 and 6, on the same texts.

Each command runs after these lines, in `tools/`; the small functions stand in `make_findings.py`. In table 2 `records` are
those of the three prompts; in tables 3 and 4 `records`, `seen`, `parts`, `profile` and `costs` are of the first n tokens.
""",
        "row": ("", "command"),
    },
}
