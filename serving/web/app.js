// The chat page: streams answers from /v1/chat/completions, says who gave each, opens the articles it cites.
// Whatever comes from the server is put in as text, never as HTML.

const TEXTS = {
  zh: {
    title: "法律问答", fresh: "新对话", send: "提问", stop: "停止", close: "关闭", ok: "确定", label: "您的问题", skip: "跳到输入框",
    welcome: "您想咨询什么法律问题？", promise: "每个回答都会注明由谁给出；引用的法条可以点开查看原文。", placeholder: "请描述您的问题",
    notice: "内容由人工智能生成的会注明；仅供参考，不构成法律意见。Enter 发送，Shift+Enter 换行。",
    key: "需要 API 密钥", keyLabel: "密钥（只保存在本标签页）",
    tuned: "法律模型生成", endpoint: "备用模型生成", knowledge: "知识库原文", canned: "固定回复", failed: "未能回答",
    reasons: {
      operator: "管理员设置", no_model: "没有模型", loading: "模型正在加载", unavailable: "模型暂不可用", slow: "模型变慢", error: "模型出错",
      breaker_open: "模型暂停使用", overload: "当前提问较多", deadline: "模型来不及回答",
    },
    errors: {
      context_length_exceeded: "对话太长，请点“新对话”，或缩短问题。", body_too_large: "对话太长，请点“新对话”，或缩短问题。", body_timeout: "网络太慢，问题没有送达，请重试。",
      empty_content: "问题里没有可读的文字。", too_many_tokens: "对话太长，超出每分钟的额度，请点“新对话”。", model_failed: "回答中断了，请重试。",
      draining: "服务正在更新，请稍后再试。", invalid_api_key: "密钥无效。", insufficient_scope: "这个密钥不能用来提问。",
    },
    valid: "现行有效", repealed: "已废止", unknown: "未查到该条文", ready: "模型就绪", without: "模型未就绪，由知识库回答",
    stopped: "已停止", cut: "时间到，回答未写完。", long: "到了长度上限，回答未写完。", asked: "问：", offline: "连接不上服务器，请稍后再试。", limited: "提问太频繁，请稍后再试。", source: "来源",
  },
  en: {
    title: "Legal Q&A (Chinese law)", fresh: "New chat", send: "Ask", stop: "Stop", close: "Close", ok: "OK", label: "Your question", skip: "Skip to the question",
    welcome: "What would you like to ask?", promise: "Every answer says who gave it; the articles it cites open on a click.", placeholder: "Describe your question",
    notice: "AI-generated answers say so; for reference only, no legal advice. Enter sends, Shift+Enter breaks the line.",
    key: "An API key is needed", keyLabel: "Key (kept in this tab only)",
    tuned: "Legal model", endpoint: "Other model", knowledge: "Quoted from the knowledge base", canned: "Standard reply", failed: "No answer",
    reasons: {
      operator: "set by the operator", no_model: "no model", loading: "the model is loading", unavailable: "the model is unavailable", slow: "the model has slowed down", error: "the model failed",
      breaker_open: "the model is paused", overload: "many questions right now", deadline: "the model would be too late",
    },
    errors: {}, // the server's own words are English
    valid: "In force", repealed: "Repealed", unknown: "No such article found", ready: "Model ready", without: "Model not ready; answers come from the knowledge base",
    stopped: "Stopped", cut: "Out of time; the answer is cut.", long: "The answer reached its greatest length and is cut.", asked: "Q: ", offline: "The server can't be reached; try again later.", limited: "Too many questions; try again later.", source: "Source",
  },
};

const $ = (id) => document.getElementById(id);
let language = localStorage.getItem("language") === "en" ? "en" : "zh";
let texts = TEXTS[language];
let messages = [];
let running = null;

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function speak(to) {
  language = to;
  texts = TEXTS[language];
  localStorage.setItem("language", language);
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  document.title = texts.title;
  for (const element of document.querySelectorAll("[data-text]")) element.textContent = texts[element.dataset.text];
  $("question").placeholder = texts.placeholder;
  $("language").textContent = language === "zh" ? "English" : "中文";
  $("language").lang = language === "zh" ? "en" : "zh-CN";
}

async function status() {
  try {
    const response = await fetch("/healthz/engine");
    const { model } = await response.json();
    $("status").textContent = model === "ready" ? texts.ready : `${texts.without}（${texts.reasons[model] ?? model}）`;
  } catch {
    $("status").textContent = texts.offline;
  }
}

function show(name, state, text) {
  $("article-name").textContent = name;
  $("article-state").textContent = state;
  $("article-text").textContent = text;
  $("article").showModal();
}

function badge(card, about) {
  const mark = card.querySelector(".badge");
  mark.textContent = texts[about.source] + (about.reason ? `（${texts.reasons[about.reason] ?? about.reason}）` : "");
  mark.classList.toggle("degraded", about.degraded);
}

function sources(card, about) {
  const list = card.querySelector(".sources");
  list.replaceChildren();
  const add = (name, className, state, text) => {
    const button = make("button", className, name);
    button.type = "button";
    button.addEventListener("click", () => show(name, state, text));
    const item = make("li");
    item.append(button);
    list.append(item);
  };
  const cited = new Set();
  for (const one of about.citations ?? []) {
    const name = `《${one.law.replace(/^中华人民共和国/, "")}》${one.label}`;
    cited.add(`《${one.law}》${one.label}`);
    add(one.status === "valid" ? name : `${name}（${texts[one.status]}）`, one.status, texts[one.status], one.text ?? texts.unknown);
  }
  for (const one of about.passages ?? []) {
    if (cited.has(one.title)) continue;
    const title = one.kind === "answer" ? texts.asked + one.title : one.title.replace("中华人民共和国", "");
    add(title.length > 30 ? `${title.slice(0, 29)}…` : title, "", `${texts.source}：${one.source}`, one.text);
  }
}

function answerCard() {
  const card = make("article", "turn answer busy");
  card.append(make("span", "badge", "…"), make("p", "text"), make("ul", "sources"), make("p", "small"));
  $("talk").append(card);
  return card;
}

function fail(card, message) {
  const mark = card.querySelector(".badge");
  mark.className = "badge failed";
  mark.textContent = texts.failed;
  card.querySelector(".small").textContent = message;
}

function told({ code, message }) {
  return texts.errors[code] ?? texts.reasons[code] ?? message;
}

async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    rest += value;
    for (let end = rest.indexOf("\n\n"); end >= 0; end = rest.indexOf("\n\n")) {
      const data = rest.slice(0, end).split("\n").filter((line) => line.startsWith("data: ")).map((line) => line.slice(6)).join("\n");
      rest = rest.slice(end + 2);
      if (data && data !== "[DONE]") yield JSON.parse(data);
    }
  }
}

async function request(signal) {
  const headers = { "Content-Type": "application/json" };
  const key = sessionStorage.getItem("key");
  if (key) headers.Authorization = `Bearer ${key}`;
  const body = JSON.stringify({ model: "legalqa", stream: true, messages: messages.slice(-9) });
  return fetch("/v1/chat/completions", { method: "POST", headers, body, signal });
}

function askKey() {
  return new Promise((resolve) => {
    $("key").addEventListener("close", () => {
      if ($("key-value").value) sessionStorage.setItem("key", $("key-value").value.trim());
      resolve(Boolean($("key-value").value));
    }, { once: true });
    $("key").showModal();
  });
}

async function ask(question) {
  $("welcome")?.remove();
  const own = make("div", "turn own");
  own.append(make("p", "", question));
  $("talk").append(own);
  messages.push({ role: "user", content: question });
  const card = answerCard();
  const text = card.querySelector(".text");
  own.scrollIntoView({ block: "start" });
  running = new AbortController();
  $("send").textContent = texts.stop;
  let failure = "";
  try {
    let response = await request(running.signal);
    if (response.status === 401 && (await askKey())) response = await request(running.signal);
    if (!response.ok) {
      const { error } = await response.json();
      failure = response.status === 429 ? texts.limited : told(error);
    } else {
      for await (const event of events(response)) {
        if (event.error) { failure = told(event.error); break; }
        if (event.legalqa) { badge(card, event.legalqa); sources(card, event.legalqa); finish(card, event); }
        text.textContent += event.choices?.[0]?.delta?.content ?? "";
      }
    }
  } catch (error) {
    failure = error.name === "AbortError" ? texts.stopped : texts.offline;
  }
  card.classList.remove("busy");
  running = null;
  $("send").textContent = texts.send;
  if (failure) fail(card, failure);
  if (failure || !text.textContent) messages.pop();
  else messages.push({ role: "assistant", content: text.textContent });
  status();
}

function finish(card, { legalqa: about, choices }) {
  const long = choices[0].finish_reason === "length" ? texts.long : "";
  const said = [about.cut_by === "deadline" ? texts.cut : long, about.label, about.disclaimer];
  card.querySelector(".small").textContent = said.filter(Boolean).join("　");
}

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (running) { running.abort(); return; }
  const question = $("question").value.trim();
  if (!question) return;
  $("question").value = "";
  $("question").style.height = "";
  ask(question);
});
$("question").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    if (!running) $("form").requestSubmit();
  }
});
$("question").addEventListener("input", () => {
  $("question").style.height = "auto";
  $("question").style.height = `${$("question").scrollHeight}px`;
});
$("fresh").addEventListener("click", () => { running?.abort(); location.reload(); });
$("language").addEventListener("click", () => { speak(language === "zh" ? "en" : "zh"); status(); });
for (const example of $("examples").children) example.addEventListener("click", () => ask(example.textContent));

speak(language);
status();
setInterval(status, 15000);

const asked = new URLSearchParams(location.hash.slice(1)).get("ask");
if (asked) ask(asked);
