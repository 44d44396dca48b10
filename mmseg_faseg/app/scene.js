// The body of a function that gr.HTML calls once, with `element`, `props`, `trigger` and `watch`.
// `props.value` is what scene.py makes of a picture, or null.

const find = (selector) => element.querySelector(selector);
let labels = null; // ImageData: red + 256 * green is the number of a pixel's class

function canvasOf(width, height) {
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [width, height];
  return canvas;
}

async function pixelsOf(uri) {
  const image = new Image();
  image.src = uri;
  await image.decode();
  const context = canvasOf(image.width, image.height).getContext('2d');
  context.drawImage(image, 0, 0);
  return context.getImageData(0, 0, image.width, image.height);
}

const labelOf = (pixel) => labels.data[4 * pixel] + 256 * labels.data[4 * pixel + 1];

function paint(canvas, palette) {
  [canvas.width, canvas.height] = [labels.width, labels.height];
  const painted = new ImageData(labels.width, labels.height);
  const pixels = new Uint32Array(painted.data.buffer);
  const colours = new Uint32Array(
    new Uint8Array(palette.flatMap((colour) => [...colour, 255])).buffer);
  for (let pixel = 0; pixel < pixels.length; pixel += 1) pixels[pixel] = colours[labelOf(pixel)];
  canvas.getContext('2d').putImageData(painted, 0, 0);
}

function legendLine({ name, colour, share }) {
  const [line, swatch, label, part] = ['li', 'span', 'span', 'span'].map((tag) =>
    document.createElement(tag));
  swatch.className = 'swatch';
  swatch.style.background = `rgb(${colour})`;
  label.textContent = name;
  part.className = 'share';
  part.textContent = share;
  line.append(swatch, label, part);
  return line;
}

function setOpacity() {
  find('canvas').style.opacity = find('input').value / 100;
}

async function show() {
  const scene = props.value;
  find('.scene').hidden = true;
  labels = null;
  if (!scene) return;
  const pixels = await pixelsOf(scene.labels);
  if (props.value?.labels !== scene.labels) return; // another picture has come meanwhile
  labels = pixels;
  find('.picture img').src = scene.picture;
  find('.picture').style.setProperty('--ratio', labels.width / labels.height);
  find('.legend').replaceChildren(...scene.legend.map(legendLine));
  paint(find('canvas'), scene.palette);
  setOpacity();
  find('.scene').hidden = false;
}

// Where the pointer is in the picture, from 0 to 1 each way; null if it is elsewhere.
function placeOf(event) {
  const box = event.target.closest('.picture')?.getBoundingClientRect();
  if (!box || !labels) return null;
  const x = (event.clientX - box.left) / box.width;
  const y = (event.clientY - box.top) / box.height;
  return x >= 0 && x < 1 && y >= 0 && y < 1 ? { x, y } : null;
}

element.addEventListener('pointermove', (event) => {
  const place = placeOf(event);
  const here = find('.here');
  here.hidden = !place;
  if (!place) return;
  const column = Math.floor(place.x * labels.width);
  const row = Math.floor(place.y * labels.height);
  here.textContent = props.value.classes[labelOf(row * labels.width + column)];
  here.style.left = `${100 * place.x}%`;
  here.style.top = `${100 * place.y}%`;
});
element.addEventListener('pointerleave', () => { find('.here').hidden = true; });
element.addEventListener('input', setOpacity);
element.addEventListener('click', (event) => {
  const place = placeOf(event);
  if (place) trigger('click', place);
});
watch('value', show);
show();
