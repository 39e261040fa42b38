// Sends the requests of the document's forms to this server, and shows what it answers.
"use strict";
for (const form of document.querySelectorAll("form[data-path]")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    let path = form.dataset.path;
    const query = new URLSearchParams();
    const headers = { authorization: "Bearer " + document.getElementById("key").value };
    for (const field of form.querySelectorAll("input")) {
      if (!field.value) continue;
      if (field.dataset.place === "path") path = path.replace(`{${field.name}}`, encodeURIComponent(field.value));
      else if (field.dataset.place === "query") query.append(field.name, field.value);
      else headers[field.name] = field.value;
    }
    const body = form.elements.body?.value;
    if (body) headers["content-type"] = "application/json";
    const shown = form.querySelector(".code"), code = shown.querySelector("code");
    try {
      const answer = await fetch(path + (query.size ? `?${query}` : ""), { method: form.dataset.method, headers, body });
      const text = await answer.text();
      const told = [...answer.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
      let pretty = text;
      try { pretty = JSON.stringify(JSON.parse(text), null, 2); } catch { /* it is shown as it is */ }
      code.textContent = `${answer.status} ${answer.statusText}\n${told}\n\n${pretty}`;
    } catch (error) {
      code.textContent = String(error);
    }
    shown.hidden = false;
  });
}
