"""The verifier: hand-labelled pairs and responses, the bounds against hostile text, and properties that hold for any answer."""

import random
from fractions import Fraction

import pytest

from t1mini.answers.latex import normalise, read
from t1mini.verifier import answers_equal, extract_answer, is_plain, verify

EQUAL = r"""
5 ||| 5.0
1/2 ||| 0.5
\frac12 ||| 0.5
\dfrac{1}{2} ||| \frac12
\frac1{72} ||| 1/72
1,234 ||| 1234
1{,}234 ||| 1234
11,\! 111,\! 111,\! 100 ||| 11111111100
10,\!080 ||| 10080
1\frac{4}{5} ||| 9/5
1\frac45 ||| 1.8
137 \frac{1}{2} ||| 137.5
137 1/2 ||| 137.5
2½ ||| 2.5
½ ||| 0.5
50% ||| 50
50\% ||| 0.5
50% ||| 50\%
\$5 ||| 5
\$32,348 ||| 32348
$18.90 ||| 18.9
\$18.90 ||| 18.9
5 dollars ||| \$5
\$5 ||| 5\text{ dollars}
5 cm ||| 5
5\text{ cm} ||| 5 centimeters
15\mbox{ cm}^2 ||| 15 square centimeters
15\mbox{ cm}^2 ||| 15
864 \mbox{ inches}^2 ||| 864\text{ in}^2
864 \mbox{ inches}^2 ||| 864 square inches
90^\circ ||| 90
90^\circ ||| 90 degrees
90° ||| 90^{\circ}
\frac{270}7\text{ degrees} ||| 270/7
3.2\times 10^5 ||| 320000
3.2e5 ||| 320000
6.02 × 10^{23} ||| 6.02e23
\sqrt{12} ||| 2\sqrt3
11\sqrt2 ||| 11\sqrt{2}
\sqrt2 ||| \sqrt{2}
\frac{\sqrt{2}}{2} ||| \frac{1}{\sqrt 2}
\frac{1}{\sqrt2} ||| sqrt(2)/2
\pi ||| 3\pi/3
288 \pi ||| 288π
3\pi/4 ||| \frac{3\pi}{4}
3*pi/4 ||| \frac{3}{4}\pi
e^{i\pi} ||| -1
(1+i)^2 ||| 2i
6 - 5i ||| -5i+6
1+274i ||| 274i + 1
e^2 ||| e^{2}
2^{10} ||| 1024
5! ||| 120
x^2+2x+1 ||| (x+1)^2
(a+5)(b+2) ||| ab+2a+5b+10
2k+2 ||| 2(k+1)
x^5 - x^4 + x^3 - x^2 + x - 1 ||| (x-1)(x^4+x^2+1)
\cot x ||| \frac{\cos x}{\sin x}
\cot x ||| \cot(x)
\sin^2 x + \cos^2 x ||| 1
\sin 2x ||| 2\sin x\cos x
x=5 ||| 5
x = 5 ||| 5
y = 2x+3 ||| 2x+3
y = 2x + 3 ||| 2x - y + 3 = 0
5x - 7y + 11z + 4 = 0 ||| -5x+7y-11z-4=0
(1,2) ||| (1, 2)
\left( 3, \frac{\pi}{2} \right) ||| (3,\pi/2)
\left(\frac{3}{5},\frac{8}{3}\right] ||| (0.6, 8/3]
x \in [-2,7] ||| [-2,7]
-2 \le x \le 7 ||| [-2,7]
-2 ≤ x ≤ 7 ||| x \in [-2,7]
x > 2 ||| (2,\infty)
2 < x ||| (2,\infty)
x\ge 3 ||| [3,\infty)
x\leq 3 ||| (-\infty,3]
(-\infty, 2) \cup (3, \infty) ||| (3,\infty)\cup(-\infty,2)
x<2 or x>3 ||| (-\infty, 2) \cup (3, \infty)
x<2 \text{ or } x>3 ||| (-\infty, 2) \cup (3, \infty)
(-∞, 0] ||| (-\infty, 0]
3, 5, 7 ||| 7,5,3
3,5,7 ||| \{3, 5, 7\}
3, 5, and 7 ||| 3,5,7
3 and 5 ||| 5, 3
1,-2 ||| -2,1
\{1\pm\sqrt{5},-2\} ||| -2, 1-\sqrt5, 1+\sqrt5
1 \pm \sqrt{19} ||| 1+\sqrt{19}, 1-\sqrt{19}
3 \pm 2 \sqrt{2} ||| 3-2\sqrt{2}, 3+2\sqrt{2}
x = 3 \pm 2\sqrt2 ||| 3 \pm 2 \sqrt{2}
x=1 or x=-2 ||| 1,-2
x=1, x=-2 ||| -2,1
\begin{pmatrix} -1/3 \\ 2/3 \\ 5/3 \end{pmatrix} ||| \begin{bmatrix}-\frac13\\\frac23\\\frac53\end{bmatrix}
\begin{pmatrix} -1 & 0 \\ 0 & -1 \end{pmatrix} ||| \begin{pmatrix}-1&0\\0&-1\end{pmatrix}
\text{(A)} ||| A
(A) ||| A
\textbf{(A)} ||| A
\text{Evelyn} ||| Evelyn
\text{Evelyn} ||| evelyn
\text{even} ||| Even
no solution ||| \text{No solution}
52_8 ||| 52_{8}
\infty ||| ∞
\infty ||| +\infty
\boxed{5} ||| 5
\boxed{\boxed{90^\circ}} ||| 90
\boxed{\text{Evelyn}} ||| Evelyn
$\boxed{\text{(C)}}$. ||| C
\boxed{1\frac{4}{5}} ||| 9/5
{90^{\circ}} ||| 90°
−5 ||| -5
.5 ||| 0.5
5. ||| 5
+5 ||| 5
-0 ||| 0
\frac{-1}{2} ||| -\frac{1}{2}
-\frac12 ||| \frac{1}{-2}
0.\overline{3} ||| 1/3
0.1\overline{6} ||| 1/6
\log_2 8 ||| 3
\ln e ||| 1
\frac{\ln 8}{\ln 2} ||| 3
|-5| ||| 5
\binom{5}{2} ||| 10
n(n+1)/2 ||| \frac{n^2+n}{2}
\frac{n(n+1)}{2} ||| \binom{n+1}{2}
x_1+x_2 ||| x_2+x_1
\sqrt[3]{8} ||| 2
\sqrt[3]{-8} ||| -2
2^{1/2} ||| \sqrt2
x^{1/2} ||| \sqrt{x}
\frac{20000}{\pi} ||| 20000/\pi
18+2\pi ||| 2(9+\pi)
17\cdot 23 ||| 391
17 \times 23 = 391 ||| 391
5 million ||| 5000000
\$5 million ||| 5,000,000
12 apples ||| 12
12\text{ apples} ||| 12
12 ||| 12 clips
\text{12} ||| 12
10 miles per hour ||| 10 mph
60 km/h ||| 60
3 hours ||| 3
3:4 ||| 3:4
5x ||| x \cdot 5
xy ||| yx
\theta ||| θ
\alpha+1 ||| 1+α
\{5\} ||| 5
\varnothing ||| \emptyset
\{\} ||| \emptyset
f(x)=x^2 ||| x^2
\angle ABC = 50^\circ ||| 50
AB = 5 ||| 5
A = \frac{1}{2} ||| 0.5
Area = 12 ||| 12
P(A) = 1/2 ||| 1/2
\frac{3}{4} ||| 75%
(x-1)(x+1)=0 ||| x^2-1=0
1 000 000 ||| 1000000
\tan 45^\circ ||| 1
\sin 30° ||| 1/2
\sin(\pi/6) ||| \frac12
2\pi r ||| 2 \pi r
{5} ||| 5
$5$ ||| 5
$$5$$ ||| 5
\(5\) ||| 5
\[5\] ||| 5
**5** ||| 5
5\,\text{cm} ||| 5 cm
5~cm ||| 5 cm
5 m ||| 5
5\mathrm{~m} ||| 5 m
\mathrm{e}^2 ||| e^2
2x \leq 6 ||| 2x\le 6
p - q ||| -q+p
6r^2-4r-24 ||| -24 + 6r^2 - 4r
\frac{11+9a}{20} ||| 0.55+0.45a
123456789012345678901234567890 ||| 123,456,789,012,345,678,901,234,567,890
10^{20} ||| 100000000000000000000
(2,4] ||| (2, 4]
(1,-16,-4,43) ||| (1, -16, -4, 43)
\frac{\pi}{6} ||| 30^\circ\pi/180^\circ
"""

DIFFERENT = r"""
5 ||| 6
5 ||| -5
0.333 ||| 1/3
0.3333333333 ||| \frac13
1.414 ||| \sqrt2
1.41421356237309504880168872 ||| \sqrt2
3.14 ||| \pi
3.14159265358979323846 ||| \pi
(1,2) ||| (2,1)
(1,2) ||| [1,2]
(1,2) ||| (1,2]
1,2 ||| 1,3
1,2 ||| 1
1,2,3 ||| 1,2
5, 6 ||| 5
5 or 6 ||| 5
\{5,6\} ||| 5
5 cm ||| 5 m
5 cm ||| 5 cm^2
5 dollars ||| 5 euros
\$5 ||| €5
90^\circ ||| 90\%
x=5 ||| x=6
x=5 ||| y=5
x+1 ||| x-1
x ||| y
x ||| X
\sqrt{x^2} ||| x
A ||| B
\text{(A)} ||| \text{(B)}
Evelyn ||| Navin
even ||| odd
listen ||| silent
52_8 ||| 53_8
52_8 ||| 52_9
\infty ||| -\infty
\infty ||| 5
10^{20}+1 ||| 10^{20}
100000000000000000000000 ||| 100000000000000000000001
\sqrt{10^{30}+1} ||| \sqrt{10^{30}+2}
\sqrt{10^{30}+1} ||| 10^{15}
9^{9^{9^9}} ||| 5
not 42 ||| 42
42 is wrong ||| 42
42 or 43 ||| 42
42, maybe ||| 42
42? ||| 42
the answer is not 42 ||| 42
at least 5 ||| 5
5 thousand ||| 5
5 million ||| 5
about 5 ||| 5
1 1/2 ||| 11/2
12 ||| 1 2
x^2 ||| x2
\frac{1}{2} ||| \frac{2}{1}
-\frac12 ||| \frac12
\begin{pmatrix}1\\2\end{pmatrix} ||| \begin{pmatrix}2\\1\end{pmatrix}
\begin{pmatrix}1&2\\3&4\end{pmatrix} ||| \begin{pmatrix}1&3\\2&4\end{pmatrix}
x>2 ||| x\ge2
x>2 ||| x<2
(2,\infty) ||| [2,\infty)
(1,2)\cup(3,4) ||| (1,2)
1\pm\sqrt2 ||| 1+\sqrt2
\pm 3 ||| 3
5x - 7y + 11z + 4 = 0 ||| 5x - 7y + 11z = 4
y=2x+3 ||| y=2x-3
2x+3 ||| 2x+4
 ||| 5
\$ ||| 5
{} ||| 0
1/0 ||| 5
0/0 ||| 0/1
yes ||| no
True ||| False
1,000 ||| 1
50% ||| 0.05
3:4 ||| 4:3
sin ||| cos
\sin x ||| \cos x
e ||| 2.718281828
i ||| -i
5! ||| 5
n! ||| n
42 apples ||| 43
42 apples ||| 42 oranges
2^x ||| x^2
3\frac12 ||| 3/2
x\in(1,2) ||| (1,3)
(3,4) ||| 3,4
(4,3) ||| 3,4
AB ||| AC
1.5e3 ||| 1.5
1.5 ||| 1,5
"""

RESPONSES = [  # response, gold, whether it earns the reward
    (r"So it is \boxed{42}.", "42", True),
    (r"\boxed {42}", "42", True),
    (r"\boxed{41} and no, \boxed{42}", "42", True),
    (r"\boxed{41} and no, \boxed{42}", "41", False),
    (r"\boxed{42} then \boxed{}", "42", True),
    (r"\boxed{42} then \boxed{...}", "42", True),
    (r"\boxed{42} then \boxed{?}", "42", True),
    (r"\boxed{42} then \boxed{\frac{1}{2", "42", True),
    (r"\boxed{\boxed{42}}", "42", True),
    (r"\boxed{\{1, 2\}}", r"\{2, 1\}", True),
    (r"<think>\boxed{42}</think> I do not know.", "42", False),
    (r"<think>\boxed{41}</think> \boxed{42}", "42", True),
    (r"\boxed{42} <think> hm", "42", False),
    (r"\boxed{41}</think>\boxed{42}", "42", True),
    ("<answer>41</answer> <answer> 42 </answer>", "42", True),
    ("<answer>42</answer> <answer>41", "42", True),
    (r"\boxed{41} <answer>42</answer>", "41", True),
    ("work\n#### 1,042", "1042", True),
    ("#### 41\n#### 42\n", "42", True),
    ("work #### 42", "42", False),
    ("The answer is 42.", "42", True),
    ("**Answer:** $42$", "42", True),
    ("Final Answer: The final answer is $42$. I hope it is correct.", "42", True),
    ("The answer is: **42**", "42", True),
    ("The answer is 3.5.", "3.5", True),
    ("The answer is 42 because 6 * 7 = 42.", "42", True),
    ("The answer is 41. Wait. The answer is 42.", "42", True),
    ("The answer is 42. Wait, the answer is not 42.", "42", False),
    ("The answer is not 42.", "42", False),
    ("The answer is definitely not 42.", "42", False),
    ("There are 42.", "42", False),
    ("The answer is 42 or 43.", "42", False),
    (r"\boxed{42, 43}", "42", False),
    (r"\boxed{17\cdot 23}", "391", False),
    (r"\boxed{17 \cdot 23 = 391}", "391", True),
    (r"\boxed{2^{10}}", "1024", False),
    (r"\boxed{\sqrt{16}}", "4", False),
    (r"\boxed{10/2}", "5", False),
    (r"\boxed{\frac{2}{4}}", "0.5", True),
    (r"\boxed{2\frac{1}{2}}", "2.5", True),
    (r"\boxed{x = 5\text{ cm}}", "5", True),
    (r"\boxed{1.5\times 10^3}", "1500", True),
    (r"\boxed{\$1{,}200.00}", "1200", True),
    (r"\boxed{2^{10}}", "2^{10}", True),
    (r"\boxed{0.\overline{3}}", r"\frac13", True),
    ("", "42", False),
]

HOSTILE = ["\\boxed{" * 15000, "{" * 100_000, "}" * 100_000, "\\boxed{" + "{" * 100_000, "\\boxed{}" * 12000, "\\boxed{" + "(" * 900 + "}",
           "\\boxed{9^{9^{9^9}}}", "\\boxed{((((9!)!)!)!)}", "\\boxed{" + "9!" * 200 + "}", "\\boxed{\ud800}", "\\boxed{\x00}",
           "answer is " * 10_000, "<answer>" * 12_000, "#### \n" * 20_000, "answer is" + " " * 100_000, "\\boxed{" + " " * 100_000 + "}",
           "\\boxed{" + "\\pm 1" * 190 + "}", "\\boxed{" + "1," * 490 + "}", "\\boxed{" + "-" * 900 + "1}", "\\boxed{" + "=1" * 490 + "}",
           "\\boxed{" + "\\sqrt{" * 150 + "2" + "}" * 150 + "}", "\\boxed{1e999999999}", "\\boxed{\\sin(10^{100})}", "\\boxed{0^{-1}}",
           "\\boxed{" + "x_" * 490 + "}", "\\boxed{" + "(1," * 200 + "}", "\\boxed{" + "(1,2)," * 150 + "}", "\\boxed{e^{e^{e^{e^e}}}}",
           "\\boxed{" + "\\text{" * 100 + "}" * 100 + "}", "\\boxed{5" + " a" * 490 + "}", "\\boxed{" + "\\frac" * 190 + "}",
           "\\boxed{\\begin{pmatrix}" + "1&" * 400 + "}", "\\boxed{" + "\\sin" * 200 + "1}", "\\boxed{\\infty-\\infty}", "\\boxed{\\log_{1} 5}",
           "\\boxed{5" + "a" * 900 + "~}", "\\boxed{\\text" + "{" + " " * 900 + "}", "\\boxed{" * 200 + "a" * 4_000_000, "\\boxed{" * 300_000 + "}" * 300_000]


def rows(block: str) -> list[tuple[str, str]]:
    return [tuple(part.strip() for part in line.split("|||")) for line in block.strip().split("\n")]


@pytest.mark.parametrize("a, b", rows(EQUAL))
def test_equal_both_ways(a, b):
    assert answers_equal(a, b) and answers_equal(b, a)


@pytest.mark.parametrize("a, b", rows(DIFFERENT))
def test_different_both_ways(a, b):
    assert not answers_equal(a, b) and not answers_equal(b, a)


@pytest.mark.parametrize("response, gold, right", RESPONSES)
def test_a_response_earns_its_reward_or_not(response, gold, right):
    assert verify(response, gold) is right


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_wrong_and_soon_told_so(text):
    assert verify(text, "5") is False  # in some 10 ms; a search that blew up would never end
    assert not answers_equal(text[7:-1], "5")


def random_answer(rng: random.Random, depth: int = 2) -> str:
    """An expression, a tuple, a set, an interval or words."""
    number = lambda: str(rng.choice([rng.randint(-999, 999), round(rng.uniform(-9, 9), 2)]))
    if depth == 0:
        return rng.choice([number(), "x", r"\pi", rf"\frac{{{rng.randint(1, 9)}}}{{{rng.randint(1, 9)}}}", rf"\sqrt{{{rng.randint(2, 99)}}}"])
    a, b = (random_answer(rng, depth - 1) for _ in range(2))
    return rng.choice([f"({a}) + ({b})", f"({a})({b})", f"({a}, {b})", f"[{a}, {b})", rf"\{{{a}, {b}\}}", f"{a}, {b}", r"\text{even}", f"{number()} cm"])


@pytest.mark.parametrize("seed", range(60))
def test_every_answer_equals_itself_however_it_is_spaced_and_never_another_sign(seed):
    rng = random.Random(seed)
    a, b = random_answer(rng), random_answer(rng)
    assert answers_equal(a, a)
    assert answers_equal(a, b) == answers_equal(b, a)
    assert answers_equal(a, f"$ {a.replace('(', '( ').replace('+', ' +  ')} $")
    assert answers_equal(a, a.replace("(", r"\left(").replace(")", r"\right)").replace("[", r"\left["))


@pytest.mark.parametrize("seed", range(40))
def test_numbers_are_what_they_are_in_every_spelling(seed):
    rng = random.Random(seed)
    n = rng.randint(-10**rng.randint(1, 30), 10**rng.randint(1, 30))
    for spelling in (f"{n:,}", f"{n}.0", f"{n}.", rf"\boxed{{{n}}}", f"+{n}" if n > 0 else str(n), f"x = {n}", f"${n}$", f"{n} apples"):
        assert answers_equal(spelling, str(n)), spelling
        assert not answers_equal(spelling, str(n + 1)), spelling
    p, q = rng.randint(1, 999), rng.choice([2, 4, 5, 8, 10, 16, 20, 25, 125])
    decimal = str(float(Fraction(p, q)))
    for spelling in (f"{p}/{q}", rf"\frac{{{p}}}{{{q}}}", rf"\dfrac{{{-p}}}{{{-q}}}", f"{p // q} {p % q}/{q}" if p % q and p > q else decimal):
        assert answers_equal(spelling, decimal), spelling
        assert not answers_equal(spelling, f"{p + 1}/{q}"), spelling


def test_whole_numbers_of_any_length_are_compared_exactly():
    n = "7" * 6000
    assert answers_equal(n, f"{n[:-3]},{n[-3:]}") and verify(rf"\boxed{{{n}}}", n)
    assert not answers_equal(n, n[:-1] + "8")


@pytest.mark.parametrize("seed", range(30))
def test_garbage_never_raises(seed):
    rng = random.Random(seed)
    pieces = list(r"{}[]()^_,;.+-*/=<>!|&%$ 059xyi'\\") + [r"\frac", r"\sqrt", r"\boxed{", r"\text{", r"\begin{pmatrix}", r"\end{pmatrix}", r"\pm",
              r"\cup", r"\left", r"\infty", r"\log_", "and", "answer is", "<think>", "#### ", "½", "²", "π", "\n", "cm", "\ud800", "\x00"]
    for _ in range(40):
        text = "".join(rng.choice(pieces) for _ in range(rng.randint(1, 40)))
        assert answers_equal(text, text)
        answers_equal(text, "5")
        verify("\\boxed{" + text + "}", text)
        extract_answer(text)
        is_plain(text)


def test_what_is_no_mathematics_is_compared_as_text():
    assert read(normalise(r"\text{June } 20, \ldots"))[0] == "text"
    assert answers_equal(r"\text{June 20}", "june 20") and not answers_equal("June 20", "June 21")
