// The package is CommonJS, which an .mjs file gets as a whole instead of its default.
import { Scrollbars } from './node_modules/react-custom-scrollbars-2/lib/index.js';

export { Scrollbars };
export default Scrollbars;
