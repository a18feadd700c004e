"""Small faults planted one at a time in norma's sources, and whether the unit tests see them: see mutants.sh."""
import argparse
import difflib
import hashlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Each group's share of 7 mutants: an emulated GPU is slow.
GROUPS = {"cpu": 3, "src": 3, "cuda": 1}
# Not compiled here: other instruction-set levels, a real GPU's side. And what times a machine, of which no result is right or wrong.
NOT_RUN = (
    r"kernels/cpu/(levels_|simd/(avx512|generic)/)|kernels/cuda/(nvcc|hopper)/|src/execute/(cuda_(launches|report)|compiled_kernels|no_cuda)"
    r"|(kernels/(cpu|cuda)|src/execute)/(roofline|latency)|src/execute/cuda_probes"
)
# Their outcome depends on the machine's load, or on the network.
UNSTEADY = "Fetch.*:Roofline.*:TimeCalls.*:TimedRun.*:BenchBn.*:MeasureOp.*:ProcessStart.*:Yardstick.*:Known/RealDatasets.*:Probes.*"
# The suites that see a file's faults first, by the beginning of its name; whatever survives them meets all the others.
FIRST = {
    "kernels/cuda/batch_norm": "*EmulatedKernels*/batch*",
    "kernels/cuda/group_norm": "*EmulatedKernels*/group*:*EmulatedKernels*/instance*",
    "kernels/cuda/conv2d": "*EmulatedKernels*/conv2d*",
    "kernels/cuda/linear": "*EmulatedKernels*/linear*",
    "kernels/cuda/correlate": "*EmulatedKernels*/conv2d*:*EmulatedKernels*/linear*",
    "kernels/cuda/outer_sum": "*EmulatedKernels*/conv2d*:*EmulatedKernels*/linear*",
    "kernels/cuda/pool": "*EmulatedKernels*/max*:*EmulatedKernels*/avg*",
    "kernels/cuda/loss": "*EmulatedKernels*/softmax*:*EmulatedKernels*/mean*",
    "kernels/cuda/optimizer": "*EmulatedKernels*/sgd*:*EmulatedKernels*/adam*:*EmulatedKernels*/check*:*EmulatedKernels*/advance*",
    "kernels/cuda/activat": "*EmulatedKernels*/activation*:*EmulatedKernels*/dropout*:*EmulatedKernels*/add*",
    "kernels/cuda/": "*EmulatedKernels*-*/batch*",
    "kernels/cpu/batch_norm": "*Kernels*/batch*:*Values*",
    "kernels/cpu/": "*Kernels*-*/batch*",
    "src/execute/cuda": "Emulated*:Cuda*",
    "src/data/idx": "Idx.*:Datasets.*",
    "src/data/gzip_stream": "Idx.*:Datasets.*",
    "src/files/safetensors": "Safetensors.*:RunDirectory.*",
    "src/files/write_file": "WriteFile.*:Safetensors.*",
    "src/train/optimizer": "*Trainer*:*Optimizer*:*Recipe*",
    "src/": "*Trainer*:*Modules*:*Golden*:*Gradient*:*Plan*:*Dataset*:*Digits*:*Circles*:*Property*:*Verify*:*Reference*",
}

# ---- the mutants

TOKEN = re.compile(
    r"""(?P<skip>//[^\n]*|/\*.*?\*/|^[ \t]*\#(?:\\\n|[^\n])*|R"(?P<d>[^(]*)\(.*?\)(?P=d)"|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])+')
    |(?P<number>\b(?:0[xX][0-9a-fA-F']+|(?:\d[\d']*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)[uUlLfFzZ]*)
    |(?P<word>[A-Za-z_]\w*)
    |(?P<op><<=|>>=|<=>|\+\+|--|&&|\|\||[-+*/%&|^=!<>]=|->|::|<<|>>|[-+*/%<>!=&|^~?:;,.(){}\[\]])""",
    re.S | re.M | re.X,
)
SWAPS = {
    "+": ["-"], "-": ["+"], "*": ["/"], "/": ["*"], "%": ["*"], "+=": ["-="], "-=": ["+="], "*=": ["/="], "/=": ["*="],
    "<": ["<=", ">"], "<=": ["<", ">"], ">": [">=", "<"], ">=": [">", "<"], "==": ["!="], "!=": ["=="], "&&": ["||"], "||": ["&&"],
    "<<": [">>"], ">>": ["<<"],
}  # fmt: skip
# Between the parentheses that follow are words for people, hints that change no result, or what the compiler checks itself.
QUIET = {"Error", "to_string", "reserve", "static_assert", "alignas", "__launch_bounds__", "snprintf"}
WORDS = {"true": "false", "false": "true", "min": "max", "max": "min"}
NO_STATEMENT = set("""return using const constexpr auto static struct class enum namespace template typedef friend extern inline
    static_assert goto else do default case public private protected switch union""".split())


class Mutant:
    def __init__(self, file, text, begin, end, by, occurrence):
        self.file, self.begin, self.end, self.by = file, begin, end, by
        self.before = text
        self.after = text[:begin] + by + text[end:]
        self.line = text.count("\n", 0, begin) + 1
        diff = list(difflib.unified_diff(text.splitlines(), self.after.splitlines(), f"a/{file}", f"b/{file}", lineterm="", n=2))
        self.diff = "\n".join(diff)
        changes = [d.strip() for d in diff[2:] if d[0] in "+-"]
        # Moving lines keeps a mutant's name, so that neither the sample nor the list of equivalent ones changes by it.
        self.name = f"{file}: {' '.join(' '.join(changes).split())}" + (f" ({occurrence})" if occurrence else "")


def statements(tokens):
    """(first, last) token of every statement that can be left out: from behind ; { } to its ;, without blocks in it."""
    start, depth = 0, 0
    for i, (kind, text, _, _) in enumerate(tokens):
        if text in "([":
            depth += 1
        elif text in ")]":
            depth -= 1
        if text in ("{", "}"):
            start, depth = i + 1, 0
        elif text == ";" and depth == 0:
            words = [t[1] for t in tokens[start:i]]
            acts = "(" in words or any(w.endswith("=") for w in words) or {"++", "--", "break", "continue", "throw"} & set(words)
            # "Type name = ...;" and "Type name(...);" declare
            declares = len(words) > 1 and tokens[start][0] == "word" and tokens[start + 1][0] == "word"
            if words and words[0] not in NO_STATEMENT and acts and (not declares or words[0] in ("if", "for", "while", "throw", "delete")):
                yield start, i
            start = i + 1


def mutants(file, text):
    tokens = [(m.lastgroup if m.lastgroup != "d" else "skip", m.group(0), m.start(), m.end()) for m in TOKEN.finditer(text)]
    raw, tokens = tokens, [t for t in tokens if t[0] != "skip"]
    strings = [(t[2], t[3]) for t in raw if t[0] == "skip" and t[1][0] in "\"R"]

    def beside_string(begin, end):
        return any(0 <= begin - e <= 2 or 0 <= b - end <= 2 for b, e in strings)

    quiet, closing, depth = set(), [], 0
    for i, (_, word, _, _) in enumerate(tokens):
        if word in QUIET:
            closing.append(depth)
        if word == "(":
            depth += 1
        elif word == ")":
            depth -= 1
            while closing and closing[-1] >= depth:
                closing.pop()
        if closing:
            quiet.add(i)

    found = {}

    def add(begin, end, by):
        mutant = Mutant(file, text, begin, end, by, 0)
        if mutant.name in found:
            mutant = Mutant(file, text, begin, end, by, len([n for n in found if n.startswith(mutant.name)]))
        found[mutant.name] = mutant

    for i, (kind, word, begin, end) in enumerate(tokens):
        if i in quiet:
            continue
        before, after = text[begin - 1 : begin], text[end : end + 1]
        previous = tokens[i - 1] if i else ("op", ";", 0, 0)
        following = tokens[i + 1] if i + 1 < len(tokens) else ("op", ";", 0, 0)
        operand_before = previous[0] in ("word", "number") and previous[1] not in ("return", "operator", "case") or previous[1] in ")]"
        if kind == "op" and word in SWAPS and before in " \n" and after in " \n" and operand_before and not beside_string(begin, end):
            for by in SWAPS[word]:
                add(begin, end, by)
        elif word == "!" and following[1] != "=" and not operand_before:
            add(begin, end, "")
        elif word in ("++", "--") and following[0] == "word" and not operand_before:
            add(begin, end, "--" if word == "++" else "++")
        elif kind == "number":
            if re.fullmatch(r"0[xX].*|.*[.eE].*", word):
                add(begin, end, f"({word} + 1)")
            else:
                digits = re.match(r"[\d']+", word).group(0)
                add(begin, end, str(int(digits.replace("'", "")) + 1) + word[len(digits) :])
                if int(digits.replace("'", "")) > 0:
                    add(begin, end, str(int(digits.replace("'", "")) - 1) + word[len(digits) :])
        elif word in WORDS and (word in ("true", "false") or following[1] in ("(", "<")):
            add(begin, end, WORDS[word])
    for first, last in statements(tokens):
        begin, end = tokens[first][2], tokens[last][3]
        if first not in quiet:
            add(begin, end, ";" + "\n" * text.count("\n", begin, end))
    return list(found.values())


def group_of(file):
    if file.startswith("kernels/cuda/") or file.startswith("src/execute/cuda"):
        return "cuda"
    return "cpu" if file.startswith("kernels/cpu/") else "src"


def tracked(*folders):
    """The files of the working tree that git knows or would add."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *folders]
    files = subprocess.run(command, cwd=ROOT, check=True, text=True, capture_output=True).stdout.split("\0")
    return [f for f in files if f and (ROOT / f).is_file()]


def sample(count, seed, groups, only):
    """The same mutants whatever else changes in the tree: those whose names hash lowest."""
    by_group = {g: [] for g in groups}
    for file in tracked("kernels/cpu", "kernels/cuda", "src"):
        if re.search(r"\.(cpp|h|cu|cuh)$", file) and not re.match(NOT_RUN, file) and group_of(file) in by_group and re.search(only, file):
            by_group[group_of(file)] += mutants(file, (ROOT / file).read_text())
    weights = sum(GROUPS[g] for g in groups)
    chosen = []
    for group, of in by_group.items():
        of.sort(key=lambda m: hashlib.sha256(f"{seed} {m.name}".encode()).digest())
        lines, taken = set(), []
        for m in of:  # one a line at most
            if (m.file, m.line) not in lines and len(taken) < -(-count * GROUPS[group] // weights):
                lines.add((m.file, m.line))
                taken.append(m)
        chosen += [(hashlib.sha256(f"{seed} {m.name}".encode()).digest(), m) for m in taken]
    return [m for _, m in sorted(chosen, key=lambda c: c[0])][:count], {g: len(of) for g, of in by_group.items()}


# ---- the runs


class Tree:
    """A copy of the working tree with a build of its own, in which one file at a time is changed."""

    def __init__(self, folder, jobs):
        self.folder, self.jobs = folder, str(jobs)
        self.build = folder / "build"

    def update(self):
        wanted = set(tracked())
        for file in wanted:
            to, content = self.folder / file, (ROOT / file).read_bytes()
            if not to.exists() or to.read_bytes() != content:
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / file, to)
        for path in list(self.folder.rglob("*")):
            if self.build not in path.parents and path.is_file() and str(path.relative_to(self.folder)) not in wanted:
                path.unlink()

    def configure(self, simt):
        options = ["-DNORMA_CUDA=OFF", "-DNORMA_WERROR=OFF", "-DNORMA_QUICK_KERNELS=ON", f"-DNORMA_BUILD_SIMT={'ON' if simt else 'OFF'}"]
        if shutil.which("ld.lld"):
            options.append("-DCMAKE_EXE_LINKER_FLAGS=-fuse-ld=lld")
        if shutil.which("ninja"):
            options.append("-GNinja")
        subprocess.run(["cmake", "--preset", "tests", *options], cwd=self.folder, check=True, stdout=subprocess.DEVNULL)

    def make(self, *targets):
        command = ["cmake", "--build", str(self.build), "-j", self.jobs, "--target", *targets]
        return subprocess.run(command, text=True, capture_output=True)

    def test(self, program, filters, scratch, cpu_seconds):
        """passed, what ended it, CPU seconds"""
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        environment = dict(
            os.environ,
            TMPDIR=str(scratch),
            NORMA_SOURCE_DIR=str(self.folder),
            NORMA_PROGRAM=str(self.build / "norma"),
            RC_PARAMS="seed=20261122" + (" max_success=20" if "simt" in program else ""),
        )
        command = [str(self.build / "tests" / program), "--gtest_brief=1", "--gtest_fail_fast", f"--gtest_filter={filters}"]

        def limits():
            # CPU time, which others on the machine do not use up; an endless loop or a table without end is a mutant killed
            resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 5))
            resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
            resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 30, 4 << 30))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with open(scratch.parent / "output", "w+", errors="replace") as output:
            process = subprocess.Popen(
                command,
                cwd=scratch,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=limits,
                start_new_session=True,
            )
            try:
                code = process.wait(timeout=60 + 20 * cpu_seconds)
            except subprocess.TimeoutExpired:
                code = "time limit"
            finally:
                try:
                    os.killpg(process.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
                process.wait()
            output.seek(0)
            failed = re.findall(r"^\[  FAILED  \] ([^\s,]+)", output.read(), re.M)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return code == 0, failed[0] if failed else f"exit {code}", used


def judge(tree, mutant, scratch, usual):
    """("killed", the test that did, CPU seconds), or "survived", or "not compiled"."""
    begun = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    program = "norma_simt_tests" if group_of(mutant.file) == "cuda" else "norma_tests"
    first = next(f for start, f in FIRST.items() if mutant.file.startswith(start))
    result, by = "not compiled", ""
    (tree.folder / mutant.file).write_text(mutant.after)
    try:
        if tree.make(program).returncode == 0:
            result = "survived"
            for filters in (first + (":" if "-" in first else "-") + UNSTEADY, "*-" + UNSTEADY):
                passed, failed, _ = tree.test(program, filters, scratch / "run", int(3 * usual[program]) + 20)
                if not passed:
                    result, by = "killed", failed
                    break
    finally:
        (tree.folder / mutant.file).write_text(mutant.before)
    return result, by, sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) - begun


def main():
    p = argparse.ArgumentParser(prog="mutants.sh", description="Plants faults one at a time and runs the unit tests.")
    p.add_argument("--count", type=int, default=200)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--groups", default="cpu,src,cuda")
    p.add_argument("--files", default="", help="only files that match this regular expression")
    p.add_argument("--scratch", type=Path, help="a folder to keep the copy and its build in")
    p.add_argument("--log", type=Path, help="results, a JSON line each; those killed before are not run again")
    p.add_argument("--jobs", type=int, default=os.cpu_count())
    p.add_argument("--least", type=float, default=95, help="per cent that must be killed")
    p.add_argument("--list", action="store_true", help="print the sample and end")
    a = p.parse_args()
    groups = a.groups.split(",")
    if unknown := set(groups) - set(GROUPS):
        p.error(f"no such group: {', '.join(sorted(unknown))}; there are: {', '.join(GROUPS)}")

    equivalent = {}
    for line in (Path(__file__).parent / "mutants_equivalent.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, reason = line.partition("  # ")
            equivalent[name.strip()] = reason
    chosen, sites = sample(a.count, a.seed, groups, a.files)
    print(f"{len(chosen)} mutants, seed {a.seed}, of {', '.join(f'{n} in {g}' for g, n in sites.items())}", flush=True)
    if a.list:
        for m in chosen:
            print(f"{m.file}:{m.line}: {m.name.partition(': ')[2]}")
        return 0

    known = {}
    if a.log and a.log.exists():
        for line in a.log.read_text().splitlines():
            r = json.loads(line)
            known[r["mutant"]] = r
    scratch = Path(tempfile.mkdtemp(prefix="norma-mutants.")) if not a.scratch else a.scratch.resolve()
    scratch.mkdir(parents=True, exist_ok=True)
    tree = Tree(scratch / "tree", a.jobs)
    tree.folder.mkdir(exist_ok=True)
    counts = {"killed": 0, "survived": 0, "equivalent": 0, "not compiled": 0}
    survivors, spent = [], []
    try:
        tree.update()
        programs = ["norma_tests"] * any(g != "cuda" for g in groups) + ["norma_simt_tests"] * ("cuda" in groups)
        tree.configure("cuda" in groups)
        made = tree.make(*programs, "norma_cli")
        if made.returncode != 0:
            sys.exit(made.stdout + made.stderr + "mutants.sh: the sources as they are do not build")
        usual = {}
        for program in programs:
            passed, failed, usual[program] = tree.test(program, "*-" + UNSTEADY, scratch / "run", 1000)
            if not passed:
                sys.exit(f"mutants.sh: {program} fails without a mutant: {failed}")
            print(f"{program}: {usual[program]:.0f} s of CPU without a mutant", flush=True)
        for number, m in enumerate(chosen, 1):
            if m.name in equivalent:
                counts["equivalent"] += 1
                continue
            if m.name in known and known[m.name]["result"] in ("killed", "not compiled"):
                counts[known[m.name]["result"]] += 1
                continue
            begun = time.time()
            result, by, cpu = judge(tree, m, scratch, usual)
            counts[result] += 1
            spent.append(cpu)
            print(f"{number}/{len(chosen)} {result:12} {m.file}:{m.line} {time.time() - begun:.0f} s, {cpu:.0f} s of CPU  {by}", flush=True)
            if result == "survived":
                survivors.append(m)
                print(m.diff, flush=True)
            if a.log:
                with a.log.open("a") as log:
                    log.write(json.dumps({"mutant": m.name, "line": m.line, "result": result, "by": by, "cpu": round(cpu, 1)}) + "\n")
    finally:
        if not a.scratch:
            shutil.rmtree(scratch, ignore_errors=True)
    if survivors:
        print("\nsurvivors: each needs a test, or a line with its reason in tests/scripts/mutants_equivalent.txt\n")
        for m in survivors:
            print(f"# {m.name}\n{m.diff}\n")
    judged = counts["killed"] + counts["survived"]
    score = 100 * counts["killed"] / judged if judged else 0
    print(f"{score:.1f} % of {judged} killed; {counts['survived']} survive, ", end="")
    print(f"{counts['equivalent']} equivalent, {counts['not compiled']} do not compile", end="")
    print(f"; {sum(spent) / len(spent):.1f} s of CPU each" if spent else "")
    return 0 if score >= a.least else 1


if __name__ == "__main__":
    sys.exit(main())
